package faultproxy

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// list is a JSON request with its entries in one array: BatchExecuteStatement or TransactWriteItems.
type list struct {
	request map[string]json.RawMessage
	field   string
	all     []json.RawMessage
	add     func(l *list, status int, answer []byte, f effects) (int, []byte)
}

func newList(body []byte, field string, add func(*list, int, []byte, effects) (int, []byte)) batch {
	l := &list{field: field, add: add}
	if json.Unmarshal(body, &l.request) != nil || json.Unmarshal(l.request[field], &l.all) != nil {
		return nil
	}
	return l
}

func (l *list) len() int { return len(l.all) }

func (l *list) without(failed map[int]string) []byte {
	left := l.all[:0:0]
	for i, entry := range l.all {
		if failed[i] == "" {
			left = append(left, entry)
		}
	}
	if len(left) == 0 || l.field == "TransactItems" { // a transaction is atomic
		return nil
	}
	request := maps.Clone(l.request)
	request[l.field] = encode(left)
	return encode(request)
}

func (l *list) addFailures(status int, answer []byte, f effects) (int, []byte) {
	return l.add(l, status, answer, f)
}

// failStatements inserts the errors of failed statements. Responses are in the order of the statements.
func failStatements(l *list, status int, answer []byte, f effects) (int, []byte) {
	response := decode(answer)
	var given []json.RawMessage
	_ = json.Unmarshal(response["Responses"], &given) // empty if no statement was forwarded
	all := make([]json.RawMessage, len(l.all))
	for i := range all {
		switch {
		case f.failed[i] != "":
			all[i] = statementError(f.failed[i])
			continue
		case f.failedAfter[i] != "":
			all[i] = statementError(f.failedAfter[i])
		default:
			all[i] = given[0]
		}
		given = given[1:]
	}
	response["Responses"] = encode(all)
	return status, encode(response)
}

func statementError(code string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"Error":{"Code":%q,"Message":"injected by the fault proxy"}}`, code))
}

// cancel returns the response of a canceled transaction.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CancellationReason.html
func cancel(l *list, status int, answer []byte, f effects) (int, []byte) {
	if len(f.failed) == 0 {
		return status, answer
	}
	type reason struct{ Code, Message string }
	reasons := make([]reason, len(l.all))
	for i := range reasons {
		reasons[i].Code = "None"
		if code := f.failed[i]; code != "" {
			reasons[i] = reason{code, "injected by the fault proxy"}
		}
	}
	return http.StatusBadRequest, encode(map[string]any{
		"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "message": "cancelled",
		"CancellationReasons": reasons,
	})
}

func decode(answer []byte) map[string]json.RawMessage {
	response := map[string]json.RawMessage{}
	if answer != nil {
		_ = json.Unmarshal(answer, &response) // an invalid response becomes an empty one
	}
	return response
}

// keys is a BatchGetItem, which has keys of several tables.
type keys struct {
	request map[string]json.RawMessage
	tables  map[string]map[string]json.RawMessage
	all     []key
}

type key struct {
	table string
	key   json.RawMessage
}

func newKeys(body []byte) batch {
	k := &keys{}
	if json.Unmarshal(body, &k.request) != nil || json.Unmarshal(k.request["RequestItems"], &k.tables) != nil {
		return nil
	}
	for _, table := range slices.Sorted(maps.Keys(k.tables)) {
		var some []json.RawMessage
		if json.Unmarshal(k.tables[table]["Keys"], &some) != nil {
			return nil
		}
		for _, one := range some {
			k.all = append(k.all, key{table, one})
		}
	}
	return k
}

func (k *keys) len() int { return len(k.all) }

// items returns RequestItems with the keys for which wanted returns true.
func (k *keys) items(wanted func(i int) bool) map[string]map[string]json.RawMessage {
	lists := map[string][]json.RawMessage{}
	for i, one := range k.all {
		if wanted(i) {
			lists[one.table] = append(lists[one.table], one.key)
		}
	}
	items := map[string]map[string]json.RawMessage{}
	for table, some := range lists {
		items[table] = maps.Clone(k.tables[table])
		items[table]["Keys"] = encode(some)
	}
	return items
}

func (k *keys) without(failed map[int]string) []byte {
	items := k.items(func(i int) bool { return failed[i] == "" })
	if len(items) == 0 {
		return nil
	}
	request := maps.Clone(k.request)
	request["RequestItems"] = encode(items)
	return encode(request)
}

// addFailures returns the failed keys as unprocessed.
func (k *keys) addFailures(status int, answer []byte, f effects) (int, []byte) {
	response := decode(answer)
	if response["Responses"] == nil {
		response["Responses"] = json.RawMessage(`{}`)
	}
	response["UnprocessedKeys"] = encode(k.items(func(i int) bool { return f.failed[i] != "" }))
	return status, encode(response)
}
