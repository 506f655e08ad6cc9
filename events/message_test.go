package events_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

func TestMessageSize(t *testing.T) {
	m := events.Message{
		ID: "does not count", Subject: "nor does this", Body: []byte("12345"), Attributes: map[string]string{"type": "é", "kind": ""},
	}
	if got, want := m.Size(), 5+(4+6+2)+(4+6+0); got != want {
		t.Errorf("Size() = %d, want %d", got, want)
	}
	if got := (events.Message{}).Size(); got != 0 {
		t.Errorf("Size() of nothing = %d", got)
	}
}

// What comes to a batch's body is little and the same for every batch; ingest leaves 256 bytes for it.
func TestAttributesOfABatchAreSmall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := encode(batch().Draw(t, "batch"))
		if got, want := m.Size()-len(m.Body), 69; got != want {
			t.Fatalf("attributes take %d bytes, want %d", got, want)
		}
	})
}
