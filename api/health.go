package api

import (
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"
)

// Health is what GET /healthz tells.
type Health struct {
	// Stages says of each part of the service, by name, how it is. It may be nil.
	Stages map[string]Condition
	// Down: uploads can't be taken, or would get no further, or readers get no answer.
	Down bool
}

// Condition is how a part of the service is: one of these words, and no more. The reason behind it is for the log.
type Condition string

// The conditions of a part. All but OK want a person's look.
const (
	OK          Condition = "ok"
	Stopped     Condition = "stopped"      // it has ended by itself
	Silent      Condition = "silent"       // it gives no answer
	Full        Condition = "full"         // it has no room for more
	Failing     Condition = "failing"      // what it tried last has failed; it goes on trying
	Behind      Condition = "behind"       // something has been waiting for it for long
	DeadLetters Condition = "dead_letters" // it has given something up
)

// status puts all of it into one word.
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

// health tells how the service is. Being unwell is no problem document: the answer itself is as it should be.
func (h *handler) health(r *http.Request, _ query, _ Claims) (reply, error) {
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
		return reply{}, fmt.Errorf("encoding the health: %w", err)
	}
	answer := reply{body: body, cache: noStore}
	if health.Down {
		answer.status = http.StatusServiceUnavailable
	}
	return answer, nil
}
