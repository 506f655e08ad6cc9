package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/internal/aws/topics"
)

// republish puts a message onto the updates topic again, with the attributes by which it finds its queue.
func (s *Stack) republish(ctx context.Context, l letter) error {
	return s.publish(ctx, outputUpdatesTopic, l)
}

// publish puts a message onto a topic, as it was before it was dead.
func (s *Stack) publish(ctx context.Context, output string, l letter) error {
	topic, err := s.output(output)
	if err != nil {
		return err
	}
	m := events.Message{ID: l.id, Body: l.body, Attributes: map[string]string{}}
	for name, value := range l.attributes {
		if !strings.HasPrefix(name, "dead-") {
			m.Attributes[name] = value
		}
	}
	if m.Attributes["type"] == "" {
		return errors.New("it has no attribute type, so no subscription would take it")
	}
	return topics.Topic{Client: s.sns(), ARN: topic}.Publish(ctx, []events.Message{m})[0]
}

// ingestAgain hands an object event to ingest once more, and a span to the topic that it came by.
func (s *Stack) ingestAgain(ctx context.Context, l letter) error {
	if l.attributes["type"] == events.ContinuationType {
		return s.republish(ctx, l)
	}
	payload := l.body
	if f, ok := l.failure(); ok {
		payload = f.Request
	}
	if !json.Valid(payload) {
		return errors.New("it is not JSON, so no function takes it")
	}
	// Asynchronously, as S3 does: Lambda keeps it, tries it several times, and puts it back here if all fail.
	_, err := s.invoke(ctx, outputIngestFunction, types.InvocationTypeEvent, payload)
	return err
}

// announceAgain publishes a change that announce could not, or has announce read a stretch of the stream once more.
func (s *Stack) announceAgain(ctx context.Context, l letter) error {
	if l.attributes["type"] == events.ChangeType {
		return s.publish(ctx, outputChangesTopic, l)
	}
	if f, ok := l.failure(); ok && f.Stretch != nil {
		return s.announceStretch(ctx, *f.Stretch)
	}
	if !json.Valid(l.body) {
		return errors.New("it is neither a change, nor a record or a stretch of the stream")
	}
	return s.announce(ctx, []json.RawMessage{l.body})
}

// announce hands records to announce and waits for its answer, which names those that it could not announce.
func (s *Stack) announce(ctx context.Context, records []json.RawMessage) error {
	payload, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		return err
	}
	answer, err := s.invoke(ctx, outputAnnounceFunction, types.InvocationTypeRequestResponse, payload)
	if err != nil {
		return err
	}
	var failed struct {
		BatchItemFailures []struct{ ItemIdentifier string }
	}
	if err := json.Unmarshal(answer, &failed); err != nil {
		return fmt.Errorf("reading what announce answered: %w", err)
	}
	if len(failed.BatchItemFailures) > 0 {
		return fmt.Errorf("announce failed on record %s; its log tells why", failed.BatchItemFailures[0].ItemIdentifier)
	}
	return nil
}

// invoke calls a function. What it answers is empty if it is called asynchronously.
func (s *Stack) invoke(ctx context.Context, output string, how types.InvocationType, payload []byte) ([]byte, error) {
	name, err := s.output(output)
	if err != nil {
		return nil, err
	}
	out, err := s.lambda().Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, InvocationType: how, Payload: payload})
	if err != nil {
		return nil, err
	}
	if out.FunctionError != nil {
		var said struct {
			ErrorMessage string `json:"errorMessage"`
		}
		if err := json.Unmarshal(out.Payload, &said); err != nil || said.ErrorMessage == "" { // of the runtime, not of the function
			said.ErrorMessage = aws.ToString(out.FunctionError) + " " + string(out.Payload)
		}
		return nil, fmt.Errorf("%s failed: %.500s", name, said.ErrorMessage)
	}
	return out.Payload, nil
}
