package api

import (
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"
)

// about is what GET / says about the service.
const about = "Serves the favorite ice-cream flavors of a team and the status of the uploaded files. " +
	"Send a bearer token to read them."

// startPage responds to GET / with a description of the service and links. The route needs no token, so besides the
// version it discloses nothing that is not public in the OpenAPI document.
func (h *handler) startPage(*http.Request, query, Claims) (response, error) {
	links := map[string]string{
		"team": "/team", "uploads": "/uploads", "changes": "/changes", "description": "/openapi.json", "health": "/healthz",
	}
	if h.Changes == nil {
		delete(links, "changes")
	}
	for name, path := range links {
		links[name] = h.BasePath + path
	}
	body, err := json.Marshal(struct {
		Name    string            `json:"name"`
		About   string            `json:"about"`
		Version string            `json:"version,omitempty"`
		Links   map[string]string `json:"links"`
	}{"flavorless", about, h.Version, links}, json.Deterministic(true))
	if err != nil {
		return response{}, fmt.Errorf("encoding the start page: %w", err)
	}
	return response{body: body, cache: public}, nil
}
