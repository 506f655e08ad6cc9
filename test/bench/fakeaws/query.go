package fakeaws

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// maxQueryBytes is the maximum size of the items that a query reads.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.Pagination.html
const maxQueryBytes = 1 << 20

type queryInput struct {
	request
	KeyConditionExpression, FilterExpression, ProjectionExpression string
	Limit                                                          int
	ExclusiveStartKey                                              item
}

// query reads one partition in the order of the sort key. It consumes capacity for all items that it reads, including
// those that the filter removes.
func (s *Server) query(body []byte) (any, error) {
	r, unlock, err := decode[queryInput](s, body)
	if err != nil {
		return nil, err
	}
	defer unlock()
	t, err := s.table(r.TableName)
	if err != nil {
		return nil, err
	}
	hash, keys, err := r.keys(t)
	if err != nil {
		return nil, err
	}
	size, read := 0, 0
	items := []item{}
	wanted := projection(r.ProjectionExpression, r.ExpressionAttributeNames)
	for _, key := range keys {
		if r.Limit > 0 && read == r.Limit || size >= maxQueryBytes {
			break
		}
		it := t.items[key]
		size += it.size()
		read++
		ok, err := r.holds(r.FilterExpression, it)
		if err != nil {
			return nil, err
		}
		if ok {
			items = append(items, it.project(wanted))
		}
	}
	s.call("Query", 0, 0, 0)
	if !s.mayRead(t, hash, readUnits(size)) {
		return nil, throttling()
	}
	s.read(t, readUnits(size))
	type capacity struct{ CapacityUnits float64 }
	answer := struct {
		Items               []item
		Count, ScannedCount int
		LastEvaluatedKey    item `json:",omitzero"`
		ConsumedCapacity    capacity
	}{Items: items, Count: len(items), ScannedCount: read, ConsumedCapacity: capacity{readUnits(size)}}
	// DynamoDB returns a key also if the last item of the partition is the last one of a full page.
	if read > 0 && (read < len(keys) || read == r.Limit) {
		answer.LastEvaluatedKey = t.items[keys[read-1]].project(t.keys)
	}
	return answer, nil
}

var keyCondition = regexp.MustCompile(`^(\S+) = (:\w+)(?: AND (\S+) (?:> (:\w+)|BETWEEN (:\w+) AND (:\w+)))?$`)

// keys returns the partition key of a query, and the keys of the items that meet its condition, from the start key on.
func (r *queryInput) keys(t *table) (hash string, keys []string, err error) {
	m := keyCondition.FindStringSubmatch(r.KeyConditionExpression)
	if m == nil || r.name(m[1]) != t.keys[0] || m[3] != "" && r.name(m[3]) != t.keys[1] {
		return "", nil, fmt.Errorf("key condition %q is not implemented", r.KeyConditionExpression)
	}
	values := map[string]value{}
	for _, placeholder := range m {
		values[placeholder] = r.ExpressionAttributeValues[placeholder]
	}
	hash = values[m[2]].text
	if hash == "" {
		return "", nil, errors.New("the condition has no partition key")
	}
	keys = t.partition(hash)
	key := func(sort string) string { return hash + "\x00" + sort + "\x00" }
	if m[4] != "" {
		keys = after(keys, key(values[m[4]].text))
	}
	if m[5] != "" {
		from, _ := slices.BinarySearch(keys, key(values[m[5]].text))
		keys = keys[from:]
		keys = keys[:len(keys)-len(after(keys, key(values[m[6]].text)))]
	}
	if r.ExclusiveStartKey != nil {
		keys = after(keys, t.key(r.ExclusiveStartKey))
	}
	return hash, keys, nil
}

// after returns the keys after one that need not be in the list.
func after(keys []string, key string) []string {
	n, found := slices.BinarySearch(keys, key)
	if found {
		n++
	}
	return keys[n:]
}
