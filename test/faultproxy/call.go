package faultproxy

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// call is a request: AWS JSON with its operation in a header, or the query protocol with a form.
// https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
type call struct {
	operation string
	body      []byte
	dynamo    bool
	xml       bool // the query protocol, whose responses are XML
	kind      string
	batch     batch // nil for other requests
}

// batch is a request with several entries.
type batch interface {
	len() int
	// without returns the request's body without some entries, or nil if nothing remains.
	without(failed map[int]string) []byte
	// addFailures adds the failed entries to the response, which is nil if nothing was forwarded.
	addFailures(status int, answer []byte, f effects) (int, []byte)
}

func parse(header http.Header, body []byte) *call {
	c := &call{body: body, kind: header.Get("Content-Type")}
	service, operation, found := strings.Cut(header.Get("X-Amz-Target"), ".")
	if !found {
		c.parseForm()
		return c
	}
	c.operation, c.dynamo = operation, strings.HasPrefix(service, "DynamoDB_")
	switch operation {
	case "BatchGetItem":
		c.batch = newKeys(body)
	case "BatchExecuteStatement":
		c.batch = newList(body, "Statements", failStatements)
	case "TransactWriteItems":
		c.batch = newList(body, "TransactItems", cancel)
	}
	return c
}

func (c *call) parseForm() {
	if kind, _, _ := mime.ParseMediaType(c.kind); kind != "application/x-www-form-urlencoded" {
		return
	}
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return
	}
	c.operation, c.xml = form.Get("Action"), true
	if c.operation == "PublishBatch" {
		c.batch = newForm(form)
	}
}

func (c *call) entries() int {
	if c.batch == nil {
		return 0
	}
	return c.batch.len()
}

func (c *call) removeEntries(failed map[int]string) {
	if c.batch != nil && len(failed) > 0 {
		c.body = c.batch.without(failed)
	}
}

// hasWork reports whether there is anything to forward.
func (c *call) hasWork() bool { return c.body != nil }

func (c *call) addFailures(status int, answer []byte, f effects) (int, []byte) {
	if c.batch == nil || len(f.failed)+len(f.failedAfter) == 0 {
		return status, answer
	}
	return c.batch.addFailures(status, answer, f)
}

func (c *call) contentType() string {
	if c.xml {
		return "text/xml"
	}
	return c.kind
}

// refuse answers with an error in the request's protocol.
func (c *call) refuse(w http.ResponseWriter, f Fault) {
	w.Header().Set("Content-Type", c.contentType())
	const message = "injected by the fault proxy"
	var body string
	if c.xml {
		var code strings.Builder
		_ = xml.EscapeText(&code, []byte(f.code))
		const format = `<ErrorResponse><Error><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`
		body = fmt.Sprintf(format, code.String(), message)
	} else {
		body = fmt.Sprintf(`{"__type":%q,"message":%q}`, "fault.proxy#"+f.code, message)
	}
	w.WriteHeader(f.status)
	fmt.Fprint(w, body)
}

// requestCapacity has DynamoDB report the consumed capacity.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ConsumedCapacity.html
func (c *call) requestCapacity() {
	var request map[string]json.RawMessage
	if !c.dynamo || !charged(c.operation) || c.body == nil || json.Unmarshal(c.body, &request) != nil {
		return
	}
	request["ReturnConsumedCapacity"] = json.RawMessage(`"TOTAL"`)
	c.body = encode(request)
}

func charged(operation string) bool {
	switch operation {
	case "GetItem", "BatchGetItem", "Query", "Scan", "PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem",
		"TransactWriteItems",
		"TransactGetItems", "ExecuteStatement", "BatchExecuteStatement":
		return true
	}
	return false
}

// units returns the sum of the consumed capacity in a response.
func (c *call) units(answer []byte) float64 {
	if !c.dynamo {
		return 0
	}
	var one struct {
		ConsumedCapacity struct{ CapacityUnits float64 }
	}
	if json.Unmarshal(answer, &one) == nil {
		return one.ConsumedCapacity.CapacityUnits
	}
	var many struct {
		ConsumedCapacity []struct{ CapacityUnits float64 }
	}
	_ = json.Unmarshal(answer, &many) // other responses consume nothing
	sum := 0.0
	for _, consumed := range many.ConsumedCapacity {
		sum += consumed.CapacityUnits
	}
	return sum
}

// encode encodes a decoded value, which can't fail.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
