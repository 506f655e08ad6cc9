// Package api is the read side of flavorless: an HTTP API that serves the favorites and the upload ledger to clients
// with a bearer token. It depends on no store and no cloud; [New] takes what it needs as small interfaces.
//
// A request passes these steps:
//
//	CORS          answers preflight requests; lets pages of allowed origins read every response, even a 401
//	routing       404 or 405, without asking for a token
//	authorization 401, 403, or 503 if the issuer's keys are unavailable
//	query         400 for unknown or malformed parameters; they are never ignored
//	endpoint      a function from the request to a response or an error
//	response      ETag, If-None-Match, Link and compression; errors become RFC 9457 problems
//
// Endpoints don't write to the http.ResponseWriter, so a panic in an endpoint is handled like any other error. Only
// problem.go turns errors into responses, and only response.go (for GET /changes, eventwriter.go) writes the others.
//
// [Verifier] checks tokens. It can be used without the API, as the Lambda authorizer does.
//
// openapi.yaml describes the API. Tests compare the handlers with it.
package api
