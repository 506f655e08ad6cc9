package api

import (
	_ "embed"
	"net/http"
	"strings"
)

// openapi is the OpenAPI document of GET /openapi.json. It is generated from openapi.yaml so that the programs need no
// YAML library; a test fails when the two differ.
//
//go:generate go test -run ^TestDocumentIsGenerated$ -update .
//go:embed openapi.json
var openapi string

// document returns the endpoint of the OpenAPI document.
func document() endpoint {
	body := strings.TrimSuffix(openapi, "\n") // response.write adds one
	tag := response{body: []byte(body)}.entityTag()
	return func(*http.Request, query, Claims) (response, error) {
		return response{body: []byte(body), cache: public, tag: tag}, nil
	}
}
