package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/flavorless/flavorless/internal/aws/stack"
	"github.com/flavorless/flavorless/internal/local"
)

// deadLettersHere are those of the server on this machine.
type deadLettersHere struct {
	conn    *connection
	dead    []stack.Dead // as they were at the beginning
	names   []string
	aliases []string // other names, of some
}

func openDeadLettersHere(ctx context.Context, conn *connection) (d deadLettersHere, err error) {
	d.conn = conn
	err = d.control(ctx, http.MethodGet, nil, &d.dead)
	for _, q := range d.dead {
		d.names = append(d.names, q.Queue)
		if q.Alias != "" {
			d.aliases = append(d.aliases, q.Alias)
		}
	}
	return d, err
}

// DeadQueues implements deadLetters.
func (d deadLettersHere) DeadQueues() []string { return d.names }

// Dead implements deadLetters.
func (d deadLettersHere) Dead(_ context.Context, queue string, most int) (stack.Dead, error) {
	q := d.dead[slices.Index(d.names, queue)]
	q.Letters = q.Letters[:min(most, len(q.Letters))]
	return q, nil
}

// Redrive implements deadLetters.
func (d deadLettersHere) Redrive(ctx context.Context, what string, progress func(int64)) (stack.Redriven, error) {
	query := url.Values{"id": {what}}
	if slices.Contains(d.names, what) || slices.Contains(d.aliases, what) {
		query = url.Values{"queue": {what}}
	}
	var answer local.Redriven
	if err := d.control(ctx, http.MethodPost, query, &answer); err != nil {
		return stack.Redriven{Queue: what}, err
	}
	progress(answer.Restored)
	r := stack.Redriven{Queue: what, Restored: answer.Restored}
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
