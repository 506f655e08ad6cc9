// Package api is the read side of flavorless: an HTTP API over the favorites and the upload ledger, for holders of a
// token. It knows no store and no cloud; New takes what it needs as small interfaces.
//
// A request passes, from the outside in:
//
//	CORS        answers preflight requests; browsers of other origins must be able to read a 401, too
//	the routes  no such route: 404, not this method: 405, both without asking for a token
//	the token   401, 403 or, when the issuer's keys can't be had, 503
//	the query   unknown or malformed parameters: 400, never ignored
//	an endpoint a function from the request to a reply or an error
//	the reply   ETag, If-None-Match, Link, compression; errors as RFC 9457 problems
//
// Endpoints write nothing themselves. So a panic in one is an error like any other, and there is one place where errors
// become answers (problem.go), one where answers become bytes (reply.go).
//
// Tokens are checked by Verifier, which is of use without the rest: the Lambda authorizer is made of it.
//
// What the API promises its clients is written in openapi.yaml; tests hold that document against these handlers.
package api
