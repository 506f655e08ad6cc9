package api

import (
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"
)

// start answers GET / with what this is and where to go on. It is open to all, so it says nothing that the description
// of the API does not, except the version.
func (h *handler) start(*http.Request, query, Claims) (reply, error) {
	links := map[string]string{}
	for name, path := range map[string]string{
		"team": "/team", "uploads": "/uploads", "changes": "/changes", "description": "/openapi.json", "health": "/healthz",
	} {
		if name != "changes" || h.Changes != nil {
			links[name] = h.BasePath + path
		}
	}
	body, err := json.Marshal(struct {
		Name    string            `json:"name"`
		About   string            `json:"about"`
		Version string            `json:"version,omitempty"`
		Links   map[string]string `json:"links"`
	}{
		Name: "flavorless", Version: h.Version, Links: links,
		About: "The favorite ice-cream flavors of a team, and what became of the uploaded files. Reading them takes a bearer token.",
	}, json.Deterministic(true))
	if err != nil {
		return reply{}, fmt.Errorf("encoding the start page: %w", err)
	}
	return reply{body: body, cache: public}, nil
}
