package faultproxy

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// list is a JSON request with its entries in one array.
type list struct {
	request map[string]json.RawMessage
	field   string
	all     []json.RawMessage
	fix     func(l *list, status int, answer []byte, f fate) (int, []byte)
}

func newList(body []byte, field string, fix func(*list, int, []byte, fate) (int, []byte)) batch {
	l := &list{field: field, fix: fix}
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
	if len(left) == 0 || l.field == "TransactItems" { // all or nothing
		return nil
	}
	request := maps.Clone(l.request)
	request[l.field] = encode(left)
	return encode(request)
}

func (l *list) mend(status int, answer []byte, f fate) (int, []byte) {
	return l.fix(l, status, answer, f)
}

// mendStatements puts an error where a statement was left out. Answers are in the order of the statements.
func mendStatements(l *list, status int, answer []byte, f fate) (int, []byte) {
	response := decode(answer)
	var given []json.RawMessage
	_ = json.Unmarshal(response["Responses"], &given) // there are none if nothing was asked
	all := make([]json.RawMessage, len(l.all))
	for i := range all {
		switch {
		case f.failed[i] != "":
			all[i] = statementError(f.failed[i])
			continue
		case f.pretend[i] != "":
			all[i] = statementError(f.pretend[i])
		default:
			all[i] = given[0]
		}
		given = given[1:]
	}
	response["Responses"] = encode(all)
	return status, encode(response)
}

func statementError(code string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"Error":{"Code":%q,"Message":"the fault proxy failed it"}}`, code))
}

// cancel makes an answer of a cancelled transaction.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CancellationReason.html
func cancel(l *list, status int, answer []byte, f fate) (int, []byte) {
	if len(f.failed) == 0 {
		return status, answer
	}
	type reason struct{ Code, Message string }
	reasons := make([]reason, len(l.all))
	for i := range reasons {
		reasons[i].Code = "None"
		if code := f.failed[i]; code != "" {
			reasons[i] = reason{code, "the fault proxy failed it"}
		}
	}
	return http.StatusBadRequest, encode(map[string]any{
		"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "message": "cancelled", "CancellationReasons": reasons,
	})
}

// mendEntries adds the entries that were left out to those that failed, as SQS tells.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_BatchResultErrorEntry.html
func mendEntries(l *list, status int, answer []byte, f fate) (int, []byte) {
	response := decode(answer)
	var failed []json.RawMessage
	_ = json.Unmarshal(response["Failed"], &failed) // there are none mostly
	for _, i := range slices.Sorted(maps.Keys(f.failed)) {
		var entry struct{ Id string } //nolint:revive // the service's name
		_ = json.Unmarshal(l.all[i], &entry)
		failed = append(failed, encode(map[string]any{
			"Id": entry.Id, "Code": f.failed[i], "Message": "the fault proxy failed it", "SenderFault": false,
		}))
	}
	response["Failed"] = encode(failed)
	if response["Successful"] == nil {
		response["Successful"] = json.RawMessage(`[]`)
	}
	return status, encode(response)
}

func decode(answer []byte) map[string]json.RawMessage {
	response := map[string]json.RawMessage{}
	if answer != nil {
		_ = json.Unmarshal(answer, &response) // what is no object is replaced
	}
	return response
}

// keys is a BatchGetItem: keys of several tables.
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

// items gives the RequestItems of those keys for which it is wanted.
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

// mend hands the keys that were left out back as unprocessed.
func (k *keys) mend(status int, answer []byte, f fate) (int, []byte) {
	response := decode(answer)
	if response["Responses"] == nil {
		response["Responses"] = json.RawMessage(`{}`)
	}
	response["UnprocessedKeys"] = encode(k.items(func(i int) bool { return f.failed[i] != "" }))
	return status, encode(response)
}
