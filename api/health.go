package api

import (
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"
)

// Health is the state of the service, as GET /healthz reports it.
type Health struct {
	// Stages is the condition of each part of the service, by name. It may be nil.
	Stages map[string]Condition
	// Down reports whether the service can't accept uploads, can't process them, or can't serve readers.
	Down bool
}

// Condition is the state of a part of the service. It gives no reason, because GET /healthz needs no token; the reason
// is logged.
type Condition string

// The conditions of a part. All but OK need the attention of an operator.
const (
	OK          Condition = "ok"
	Stopped     Condition = "stopped"      // it has terminated
	Silent      Condition = "silent"       // it does not respond
	Full        Condition = "full"         // it has no space left
	Failing     Condition = "failing"      // its last attempts failed; it keeps retrying
	Behind      Condition = "behind"       // its oldest item has been waiting too long
	DeadLetters Condition = "dead_letters" // it gave up on messages
)

// status summarizes h in one word.
func (h Health) status() string {
	if h.Down {
		return "unavailable"
	}
	for _, c := range h.Stages {
		if c != OK {
			return "degraded"
		}
	}
	return "ok"
}

// health responds to GET /healthz. Bad health is not a problem document, because the request itself succeeded.
func (h *handler) health(r *http.Request, _ query, _ Claims) (response, error) {
	var health Health
	if h.Health != nil {
		health = h.Health(r.Context())
	}
	body, err := json.Marshal(struct {
		Status  string               `json:"status"`
		Version string               `json:"version,omitempty"`
		Stages  map[string]Condition `json:"stages,omitempty"`
	}{health.status(), h.Version, health.Stages}, json.Deterministic(true))
	if err != nil {
		return response{}, fmt.Errorf("encoding the health: %w", err)
	}
	status := http.StatusOK
	if health.Down {
		status = http.StatusServiceUnavailable
	}
	return response{body: body, cache: noStore, status: status}, nil
}
