package api

import (
	_ "embed"
	"net/http"
	"strings"
)

// openapi is the description of the API, as GET /openapi.json gives it. It is made from openapi.yaml, so that no
// program of ours links a YAML library; a test fails when the two differ.
//
//go:generate go test -run ^TestDocumentIsGenerated$ -update .
//go:embed openapi.json
var openapi string

// document answers with the description.
func document() endpoint {
	body := strings.TrimSuffix(openapi, "\n") // reply.write brings its own
	p := reply{cache: public}
	p.tag = reply{body: []byte(body)}.entityTag()
	return func(*http.Request, query, Claims) (reply, error) {
		p := p
		p.body = []byte(body)
		return p, nil
	}
}
