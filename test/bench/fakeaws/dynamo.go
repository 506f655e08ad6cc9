package fakeaws

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

// failure is an error response of DynamoDB.
// https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html#operation-error-serialization
type failure struct {
	Type    string `json:"__type"`
	Message string
	Item    item     `json:",omitzero"`
	Reasons []reason `json:"CancellationReasons,omitzero"`
}

type reason struct {
	Code, Message string
	Item          item `json:",omitzero"`
}

func (f *failure) Error() string { return f.Type + ": " + f.Message }

func fail(kind string) *failure {
	return &failure{Type: "com.amazonaws.dynamodb.v20120810#" + kind, Message: "The conditional request failed"}
}

func (s *Server) dynamo(w http.ResponseWriter, operation string, body []byte) {
	handle := map[string]func([]byte) (any, error){
		"GetItem": s.getItem, "BatchGetItem": s.batchGet, "Query": s.query, "UpdateItem": s.update, "PutItem": s.put,
		"BatchExecuteStatement": s.batchExecute, "TransactWriteItems": s.transact,
	}[operation]
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	var answer any
	err := fmt.Errorf("operation %q is not implemented", operation)
	if handle != nil {
		answer, err = handle(body)
	}
	if err != nil {
		f, ok := err.(*failure) //nolint:errorlint // failures are never wrapped
		if !ok {
			f = fail("ValidationException")
			f.Message = err.Error()
		}
		w.WriteHeader(http.StatusBadRequest)
		answer = f
	}
	_ = json.MarshalWrite(w, answer) // fails if the client has gone
}

// decode decodes a request and takes the lock, which the caller releases with unlock.
func decode[T any](s *Server, body []byte) (request T, unlock func(), err error) {
	if err := json.Unmarshal(body, &request); err != nil {
		return request, nil, err
	}
	s.mu.Lock()
	return request, s.mu.Unlock, nil
}

func (s *Server) table(name string) (*table, error) {
	if t := s.tables[name]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("table %q does not exist", name)
}

func (s *Server) getItem(body []byte) (any, error) {
	r, unlock, err := decode[request](s, body)
	if err != nil {
		return nil, err
	}
	defer unlock()
	t, err := s.table(r.TableName)
	if err != nil {
		return nil, err
	}
	s.call("GetItem", 0, 0, 0)
	key := t.key(r.Key)
	it := t.items[key]
	if !s.mayRead(t, key, readUnits(it.size())) {
		return nil, throttling()
	}
	s.read(t, readUnits(it.size()))
	return struct {
		Item item `json:",omitzero"`
	}{it}, nil
}

// batchGet leaves keys unprocessed whose partition is throttled. The request fails if that applies to all keys.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
func (s *Server) batchGet(body []byte) (any, error) {
	type keys struct {
		Keys                     []item
		ProjectionExpression     string            `json:",omitzero"`
		ExpressionAttributeNames map[string]string `json:",omitzero"`
		ConsistentRead           bool              `json:",omitzero"`
	}
	r, unlock, err := decode[struct{ RequestItems map[string]keys }](s, body)
	if err != nil {
		return nil, err
	}
	defer unlock()
	responses, left := map[string][]item{}, map[string]keys{}
	n, processed := 0, 0
	for name, asked := range r.RequestItems {
		t, err := s.table(name)
		if err != nil {
			return nil, err
		}
		n += len(asked.Keys)
		wanted := projection(asked.ProjectionExpression, asked.ExpressionAttributeNames)
		found := []item{}
		var throttled []item
		for _, one := range asked.Keys {
			key := t.key(one)
			it := t.items[key]
			if !s.mayRead(t, key, readUnits(it.size())) {
				throttled = append(throttled, one)
				continue
			}
			s.read(t, readUnits(it.size()))
			processed++
			if it != nil {
				found = append(found, it.project(wanted))
			}
		}
		responses[name] = found
		if throttled != nil {
			asked.Keys = throttled
			left[name] = asked
		}
	}
	s.call("BatchGetItem", n, 0, 0)
	if processed == 0 {
		return nil, throttling()
	}
	return struct {
		Responses       map[string][]item
		UnprocessedKeys map[string]keys
	}{responses, left}, nil
}

func projection(expression string, names map[string]string) []string {
	if expression == "" {
		return nil
	}
	var wanted []string
	for placeholder := range strings.SplitSeq(expression, ",") {
		wanted = append(wanted, names[strings.TrimSpace(placeholder)])
	}
	return wanted
}

// project returns the wanted attributes, or all of them if wanted is nil.
func (it item) project(wanted []string) item {
	if wanted == nil {
		return it
	}
	var some item
	for _, a := range it {
		if slices.Contains(wanted, a.name) {
			some = append(some, a)
		}
	}
	return some
}

func (s *Server) update(body []byte) (any, error) {
	r, unlock, err := decode[request](s, body)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return s.writeOne("UpdateItem", &r)
}

func (s *Server) put(body []byte) (any, error) {
	r, unlock, err := decode[request](s, body)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return s.writeOne("PutItem", &r)
}

// writeOne executes an UpdateItem or a PutItem. The caller holds the lock.
func (s *Server) writeOne(operation string, r *request) (any, error) {
	s.call(operation, 0, 0, 0)
	t, changed, err := s.prepare(r)
	if err != nil {
		return nil, err
	}
	key := t.key(r.Key)
	if !s.mayWrite(t, key, t.writeCost(key, changed)) {
		return nil, throttling()
	}
	s.write(t, key, changed, 1)
	if changed == nil {
		f := fail("ConditionalCheckFailedException")
		f.Item = t.items[key]
		return nil, f
	}
	return struct{ Attributes item }{changed}, nil
}

// prepare returns the item after a write, or nil if the condition does not hold.
func (s *Server) prepare(r *request) (*table, item, error) {
	t, err := s.table(r.TableName)
	if err != nil {
		return nil, nil, err
	}
	if r.Key == nil {
		r.Key = r.Item
	}
	before := t.items[t.key(r.Key)]
	if ok, err := r.holds(r.ConditionExpression, before); err != nil || !ok {
		return t, nil, err
	}
	if r.Item != nil {
		return t, r.Item, nil
	}
	changed, err := r.apply(before)
	return t, changed, err
}

func (s *Server) batchExecute(body []byte) (any, error) {
	r, unlock, err := decode[struct{ Statements []statementRequest }](s, body)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s.call("BatchExecuteStatement", len(r.Statements), 0, 0)
	answers := make([]statementAnswer, len(r.Statements))
	for i, one := range r.Statements {
		if answers[i], err = s.execute(one); err != nil {
			return nil, err
		}
	}
	return struct{ Responses []statementAnswer }{answers}, nil
}

// transact writes all items or none. A cancelled transaction consumes as much capacity as a successful one.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
func (s *Server) transact(body []byte) (any, error) {
	r, unlock, err := decode[struct {
		TransactItems []struct{ Update, Put *request }
	}](s, body)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s.call("TransactWriteItems", len(r.TransactItems), 0, 0)
	n := len(r.TransactItems)
	tables, changed, keys, reasons := make([]*table, n), make([]item, n), make([]string, n), make([]reason, n)
	cancelled := false
	for i, one := range r.TransactItems {
		w := one.Update
		if w == nil {
			w = one.Put
		}
		if w == nil {
			return nil, errors.New("only Put and Update are implemented")
		}
		if tables[i], changed[i], err = s.prepare(w); err != nil {
			return nil, err
		}
		keys[i] = tables[i].key(w.Key)
		if reasons[i].Code = "None"; changed[i] == nil {
			cancelled = true
			reasons[i] = reason{"ConditionalCheckFailed", "The conditional request failed", tables[i].items[keys[i]]}
		}
	}
	taken := 0 // number of items that got their units
	for i, t := range tables {
		if !s.mayWrite(t, keys[i], 2*t.writeCost(keys[i], changed[i])) {
			reasons[i] = reason{Code: "ThrottlingError", Message: throttlingMessage}
			break
		}
		taken++
	}
	if taken < len(tables) { // nothing is written, and no units are consumed
		for i, t := range tables[:taken] {
			t.partitionOf(keys[i]).write.take(-2 * t.writeCost(keys[i], changed[i]))
		}
		f := fail("TransactionCanceledException")
		f.Reasons = reasons
		return nil, f
	}
	for i, t := range tables {
		if cancelled {
			changed[i] = nil
		}
		s.write(t, keys[i], changed[i], 2)
	}
	if cancelled {
		f := fail("TransactionCanceledException")
		f.Reasons = reasons
		return nil, f
	}
	return struct{}{}, nil
}
