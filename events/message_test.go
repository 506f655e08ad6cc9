package events_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

func TestMessageSize(t *testing.T) {
	m := events.Message{
		ID: "does not count", Subject: "nor does this", Body: []byte("12345"),
		Attributes: map[string]string{"type": "é", "kind": ""},
	}
	if got, want := m.Size(), 5+(4+6+2)+(4+6+0); got != want {
		t.Errorf("Size() = %d, want %d", got, want)
	}
	if got := (events.Message{}).Size(); got != 0 {
		t.Errorf("Size() of an empty message = %d, want 0", got)
	}
}

// TestBatchAttributesSize checks that attributes fit into the 256 bytes that ingest leaves for them.
func TestBatchAttributesSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := encode(batch().Draw(t, "batch"))
		if got, want := m.Size()-len(m.Body), 69; got != want {
			t.Fatalf("attributes take %d bytes, want %d", got, want)
		}
	})
}
