package fakeaws

import (
	"slices"
	"strings"
)

// table is a table's items, by their keys.
type table struct {
	name  string
	keys  []string
	index []string // the keys of its index, which has nothing else
	items map[string]item

	sorted map[string][]string // keys by shard; nil if it has to be made anew

	partitions []partition // that limit it; nil without limits
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

// readUnits are those of a strongly consistent read of so many bytes, at least one.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
func readUnits(bytes int) float64 { return float64(max(1, (bytes+4095)/4096)) }

// writeUnits are those of a write of so many bytes, at least one.
func writeUnits(bytes int) float64 { return float64(max(1, (bytes+1023)/1024)) }

// writeCost returns the units of a write: those of the larger of the item before and after.
func (t *table) writeCost(key string, changed item) float64 {
	return writeUnits(max(t.items[key].size(), changed.size()))
}

// read counts units of reading. The caller holds the lock.
func (s *Server) read(t *table, units float64) {
	u := s.counts.Units[t.name]
	u.Read += units
	s.counts.Units[t.name] = u
}

// write stores an item, or fails to (changed is nil), and counts the units: by the larger of the item before and after,
// twice in a transaction. A failed condition costs as much. The caller holds the lock.
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
			t.sorted = nil
		}
		t.items[key] = changed
	}
	s.counts.Units[t.name] = u
}

// indexUnits are those of the index, which is written when its keys change: once to delete, once to put.
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

// same tells whether nothing has changed; then a stream has no record of the write.
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

// partition gives a shard's items behind a key, in order.
func (t *table) partition(hash, after string) []item {
	if t.sorted == nil { // since the last new item
		t.sorted = map[string][]string{}
		for key := range t.items {
			shard, _, _ := strings.Cut(key, "\x00")
			t.sorted[shard] = append(t.sorted[shard], key)
		}
		for _, keys := range t.sorted {
			slices.Sort(keys)
		}
	}
	keys := t.sorted[hash]
	start, found := slices.BinarySearch(keys, after)
	if found {
		start++
	}
	items := make([]item, 0, len(keys)-start)
	for _, key := range keys[start:] {
		items = append(items, t.items[key])
	}
	return items
}
