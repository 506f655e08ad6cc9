package fakeaws

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// statement is a compiled PartiQL statement: what its parameters stand for, in their order.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.html
type statement struct {
	insert bool
	table  string
	set    []string // attributes
	remove []string
	where  []string // attributes: keys that must be equal, then attributes that must be less
	less   int      // number of attributes at the end of where that are compared with <
}

var (
	insertForm = regexp.MustCompile(`^INSERT INTO "([^"]+)" VALUE \{(.*)\}$`)
	updateForm = regexp.MustCompile(`^UPDATE "([^"]+)" (.*) WHERE (.*)$`)
	memberForm = regexp.MustCompile(`^'(\w+)':\?$`)
	setForm    = regexp.MustCompile(`SET "(\w+)"=\?`)
	removeForm = regexp.MustCompile(`REMOVE "(\w+)"`)
	whereForm  = regexp.MustCompile(`^"(\w+)"(=|<)\?$`)

	compiled sync.Map // by text; a few statements are sent a million times
)

func compile(text string) (*statement, error) {
	if known, ok := compiled.Load(text); ok {
		return known.(*statement), nil
	}
	var s statement
	if m := insertForm.FindStringSubmatch(text); m != nil {
		s = statement{insert: true, table: m[1]}
		for member := range strings.SplitSeq(m[2], ",") {
			name := memberForm.FindStringSubmatch(member)
			if name == nil {
				return nil, fmt.Errorf("member %q of %q is not implemented", member, text)
			}
			s.set = append(s.set, name[1])
		}
	} else if m := updateForm.FindStringSubmatch(text); m != nil {
		s.table = m[1]
		for _, name := range setForm.FindAllStringSubmatch(m[2], -1) {
			s.set = append(s.set, name[1])
		}
		for _, name := range removeForm.FindAllStringSubmatch(m[2], -1) {
			s.remove = append(s.remove, name[1])
		}
		for term := range strings.SplitSeq(m[3], " AND ") {
			name := whereForm.FindStringSubmatch(term)
			if name == nil {
				return nil, fmt.Errorf("condition %q of %q is not implemented", term, text)
			}
			s.where = append(s.where, name[1])
			if name[2] == "<" {
				s.less++
			}
		}
	} else {
		return nil, fmt.Errorf("statement %q is not implemented", text)
	}
	compiled.Store(text, &s)
	return &s, nil
}

type statementRequest struct {
	Statement                           string
	Parameters                          []value
	ReturnValuesOnConditionCheckFailure string
}

type statementError struct {
	Code, Message string
	Item          item `json:",omitzero"`
}

type statementAnswer struct {
	Error     *statementError `json:",omitzero"`
	TableName string
}

// execute executes one statement of a batch. The caller holds the lock.
func (s *Server) execute(r statementRequest) (statementAnswer, error) {
	st, err := compile(r.Statement)
	if err != nil {
		return statementAnswer{}, err
	}
	t := s.tables[st.table]
	if t == nil || len(r.Parameters) != len(st.set)+len(st.where) {
		return statementAnswer{}, fmt.Errorf("statement %q: the table does not exist, or there are not %d parameters",
			r.Statement, len(r.Parameters))
	}
	values, where := r.Parameters[:len(st.set)], r.Parameters[len(st.set):]
	answer := statementAnswer{TableName: st.table}
	if st.insert {
		it := make(item, len(values))
		for i, v := range values {
			it[i] = attribute{st.set[i], v}
		}
		key := t.key(it)
		if !s.mayWrite(t, key, t.writeCost(key, it)) {
			answer.Error = &statementError{Code: "ThrottlingError", Message: throttlingMessage}
			return answer, nil
		}
		if t.items[key] != nil {
			s.write(t, key, nil, 1)
			answer.Error = &statementError{Code: "DuplicateItem", Message: "Duplicate primary key exists in table"}
			return answer, nil
		}
		s.write(t, key, it, 1)
		return answer, nil
	}
	keys := make(item, len(where)-st.less)
	for i := range keys {
		keys[i] = attribute{st.where[i], where[i]}
	}
	key := t.key(keys)
	it := t.items[key]
	changed := it
	for i, v := range values {
		changed = changed.with(st.set[i], v)
	}
	for _, name := range st.remove {
		changed = changed.without(name)
	}
	if !s.mayWrite(t, key, t.writeCost(key, changed)) {
		answer.Error = &statementError{Code: "ThrottlingError", Message: throttlingMessage}
		return answer, nil
	}
	met := it != nil
	for i := len(keys); i < len(where); i++ {
		stored, exists := it.get(st.where[i])
		met = met && exists && stored.text < where[i].text
	}
	if !met {
		s.write(t, key, nil, 1)
		answer.Error = &statementError{Code: "ConditionalCheckFailed", Message: "The conditional request failed"}
		if r.ReturnValuesOnConditionCheckFailure == "ALL_OLD" {
			answer.Error.Item = it
		}
		return answer, nil
	}
	s.write(t, key, changed, 1)
	return answer, nil
}
