package topic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/flavorless/flavorless/events"
)

// parseAck returns the sequence number of a published message, or why the server refused it. Without the need for a
// sequence number it does not decode a plain success, which almost all acknowledgements are.
func parseAck(m *nats.Msg, needSequence bool) (sequence uint64, err error) {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return 0, jetstream.ErrNoStreamResponse
	}
	success := bytes.HasPrefix(m.Data, []byte(`{"stream":`)) && !bytes.Contains(m.Data, []byte(`"error"`))
	if success && !needSequence {
		return 0, nil
	}
	var ack struct {
		jetstream.PubAck
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return 0, fmt.Errorf("reading the server's answer: %w", err)
	}
	const tooLarge = 10054 // "message size exceeds maximum allowed"
	switch {
	case ack.Error != nil && ack.Error.ErrorCode == tooLarge:
		return 0, fmt.Errorf("%w: %w", ack.Error, events.ErrPermanent)
	case ack.Error != nil:
		return 0, ack.Error
	case ack.Stream == "":
		return 0, errors.New("the server's answer names no stream")
	}
	return ack.Sequence, nil
}
