package fakeaws

import (
	"slices"
	"strings"
)

// table holds the items of a table by their keys.
type table struct {
	name  string
	keys  []string
	index []string // the keys of its index, which projects only keys
	items map[string]item

	sorted map[string][]string // keys by partition key, in order
	added  map[string][]string // keys that are not in sorted yet

	partitions []partition // nil without limits
	placement  uint64
}

func (t *table) key(of item) string {
	var b strings.Builder
	for _, name := range t.keys {
		v, _ := of.get(name)
		b.WriteString(v.text)
		b.WriteByte(0)
	}
	return b.String()
}

// readUnits returns the units of a strongly consistent read, at least one.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
func readUnits(bytes int) float64 { return float64(max(1, (bytes+4095)/4096)) }

// writeUnits returns the units of a write, at least one.
func writeUnits(bytes int) float64 { return float64(max(1, (bytes+1023)/1024)) }

// writeCost returns the units of a write, which depend on the larger of the item before and after it.
func (t *table) writeCost(key string, changed item) float64 {
	return writeUnits(max(t.items[key].size(), changed.size()))
}

// read counts the units of a read. The caller holds the lock.
func (s *Server) read(t *table, units float64) {
	u := s.counts.Units[t.name]
	u.Read += units
	s.counts.Units[t.name] = u
}

// write stores an item and counts the units, times times because a transaction consumes twice as many. Changed is nil
// if the condition failed, which consumes as much. The caller holds the lock.
func (s *Server) write(t *table, key string, changed item, times float64) {
	before := t.items[key]
	u := s.counts.Units[t.name]
	u.Write += times * t.writeCost(key, changed)
	if changed != nil {
		u.Index += times * t.indexUnits(before, changed)
		if !same(before, changed) {
			u.Streamed++
		}
		if before == nil {
			hash, _, _ := strings.Cut(key, "\x00")
			if t.added == nil {
				t.added = map[string][]string{}
			}
			t.added[hash] = append(t.added[hash], key)
		}
		t.items[key] = changed
	}
	s.counts.Units[t.name] = u
}

// indexUnits returns the units of writing the index, which changes with its keys: one to delete, and one to put.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html#GSI.ThroughputConsiderations.Writes
func (t *table) indexUnits(before, after item) float64 {
	old, new := t.indexed(before), t.indexed(after)
	if slices.Equal(old, new) {
		return 0
	}
	units := 0.0
	if old != nil {
		units++
	}
	if new != nil {
		units++
	}
	return units
}

func (t *table) indexed(it item) []value {
	var keys []value
	for _, name := range t.index {
		v, ok := it.get(name)
		if !ok {
			return nil
		}
		keys = append(keys, v)
	}
	return keys
}

// same reports whether two items are equal. A stream has no record of a write that changes nothing.
func same(a, b item) bool {
	if len(a) != len(b) {
		return false
	}
	for _, x := range a {
		if v, ok := b.get(x.name); !ok || v != x.value {
			return false
		}
	}
	return true
}

// partition returns the keys that have a partition key, in order.
func (t *table) partition(hash string) []string {
	if added := t.added[hash]; added != nil {
		all := append(t.sorted[hash], added...)
		slices.Sort(all)
		if t.sorted == nil {
			t.sorted = map[string][]string{}
		}
		t.sorted[hash] = all
		delete(t.added, hash)
	}
	return t.sorted[hash]
}
