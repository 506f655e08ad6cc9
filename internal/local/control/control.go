// Package control is the operator's endpoint of the server on one machine: [Handler] serves its dead letters over HTTP,
// and [Client] reads and redrives them from another process.
package control

// Path is where the dead letters are served: GET lists them; POST puts back those of a queue (?queue=) or a single one
// (?id=). It is served at the API's address but is not part of the API. Requests need the control secret of the running
// server as a bearer token, and their Host header must be an IP address or localhost.
const Path = "/_control/dead-letters"

// maxLetters is how many messages of a queue are listed, and how many failures end a redrive.
const maxLetters = 100
