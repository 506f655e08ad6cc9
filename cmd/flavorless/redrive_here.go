package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/flavorless/flavorless/internal/aws/stack"
	"github.com/flavorless/flavorless/internal/local"
)

// deadLettersHere are those of the server on this machine.
type deadLettersHere struct{ conn *connection }

// DeadQueues implements deadLetters.
func (deadLettersHere) DeadQueues() []string { return []string{"ingest-dead", "apply-dead"} }

// Dead implements deadLetters.
func (d deadLettersHere) Dead(ctx context.Context, queue string, most int) (stack.Dead, error) {
	var queues []stack.Dead
	if err := d.control(ctx, http.MethodGet, nil, &queues); err != nil {
		return stack.Dead{}, err
	}
	for _, q := range queues {
		if q.Queue == queue {
			q.Letters = q.Letters[:min(most, len(q.Letters))]
			return q, nil
		}
	}
	return stack.Dead{}, fmt.Errorf("the server knows no queue %s; is it of another version?", queue)
}

// Redrive implements deadLetters.
func (d deadLettersHere) Redrive(ctx context.Context, queue string, progress func(int64)) (stack.Redriven, error) {
	var answer local.Redriven
	if err := d.control(ctx, http.MethodPost, url.Values{"queue": {queue}}, &answer); err != nil {
		return stack.Redriven{Queue: queue}, err
	}
	progress(answer.Restored)
	r := stack.Redriven{Queue: queue, Restored: answer.Restored}
	for _, text := range answer.Failures {
		r.Failures = append(r.Failures, errors.New(text))
	}
	return r, nil
}

func (d deadLettersHere) control(ctx context.Context, method string, query url.Values, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, d.conn.info.API+local.DeadLettersPath+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+d.conn.info.Control)
	res, err := (&http.Client{}).Do(req) // it may take long, and ends by ctx
	if err != nil {
		return d.conn.silent(d.conn.info.API, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s: %s", res.Status, strings.TrimSpace(string(body)))
	}
	return json.Unmarshal(body, answer)
}
