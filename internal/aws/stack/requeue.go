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

// republish publishes a message to the updates topic again, with the attributes that the subscriptions filter by.
func (s *Stack) republish(ctx context.Context, l letter) error {
	return s.publish(ctx, outputUpdatesTopic, l)
}

// publish publishes a message to a topic without the attributes that it got as a dead letter.
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
		return errors.New("the message has no attribute type, so no subscription would accept it")
	}
	return topics.Topic{Client: s.sns(), ARN: topic}.Publish(ctx, []events.Message{m})[0]
}

// ingestAgain invokes ingest with an object event again, and republishes a continuation.
func (s *Stack) ingestAgain(ctx context.Context, l letter) error {
	if l.attributes["type"] == events.ContinuationType {
		return s.republish(ctx, l)
	}
	payload := l.body
	if f, ok := l.failure(); ok {
		payload = f.Request
	}
	if !json.Valid(payload) {
		return errors.New("the message is not JSON, so no function accepts it")
	}
	// S3 invokes asynchronously as well: Lambda stores the event, retries it, and sends it back here if all tries fail.
	_, err := s.invoke(ctx, outputIngestFunction, types.InvocationTypeEvent, payload)
	return err
}

// announceAgain publishes a change again, or invokes announce with the records of the stream that it failed on.
func (s *Stack) announceAgain(ctx context.Context, l letter) error {
	if l.attributes["type"] == events.ChangeType {
		return s.publish(ctx, outputChangesTopic, l)
	}
	if f, ok := l.failure(); ok && f.Range != nil {
		return s.announceRange(ctx, *f.Range)
	}
	if !json.Valid(l.body) {
		return errors.New("the message is neither a change, nor a record or a range of the stream")
	}
	return s.announce(ctx, []json.RawMessage{l.body})
}

// announce invokes the function announce with records and returns an error if it could not announce all of them.
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
		return fmt.Errorf("decoding the response of announce: %w", err)
	}
	if len(failed.BatchItemFailures) > 0 {
		return fmt.Errorf("announce failed on record %s; see its log", failed.BatchItemFailures[0].ItemIdentifier)
	}
	return nil
}

// invoke invokes a function and returns its response, which is empty for an asynchronous invocation.
func (s *Stack) invoke(ctx context.Context, output string, kind types.InvocationType, payload []byte) ([]byte, error) {
	name, err := s.output(output)
	if err != nil {
		return nil, err
	}
	out, err := s.lambda().Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, InvocationType: kind, Payload: payload})
	if err != nil {
		return nil, err
	}
	if out.FunctionError != nil {
		var response struct {
			ErrorMessage string `json:"errorMessage"`
		}
		// The runtime itself may have failed, without a message.
		if err := json.Unmarshal(out.Payload, &response); err != nil || response.ErrorMessage == "" {
			response.ErrorMessage = aws.ToString(out.FunctionError) + " " + string(out.Payload)
		}
		return nil, fmt.Errorf("%s failed: %.500s", name, response.ErrorMessage)
	}
	return out.Payload, nil
}
