package fakeaws

import (
	"crypto/md5"
	"encoding/binary"
	"math"
	"strings"
	"time"
)

// Capacity limits what the tables serve. DynamoDB spreads the partition keys of a table over partitions by a hash, and
// each partition serves its own units a second, however idle the others are.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
type Capacity struct {
	Partitions  int           // of each table
	Write, Read float64       // units a second of each partition
	Burst       time.Duration // how long a partition saves what it does not serve; at least the running second
	Placement   uint64        // chooses the hash, and so which partition each key is in
}

// NewOnDemandTable is the capacity of an on-demand table that was just created: it serves 4,000 write units and 12,000
// read units a second, by four partitions.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
func NewOnDemandTable() Capacity { return Capacity{Partitions: 4, Write: 1000, Read: 3000} }

// NewLimited returns a fake like New does, with tables that throttle beyond the capacity. Its clock is that of package
// time, so in a bubble of testing/synctest it is virtual.
func NewLimited(c Capacity) *Server {
	s := New()
	for _, t := range s.tables {
		t.placement = c.Placement
		t.partitions = make([]partition, c.Partitions)
		for i := range t.partitions {
			t.partitions[i] = partition{write: newBucket(c.Write, c.Burst), read: newBucket(c.Read, c.Burst)}
		}
	}
	return s
}

// partition is the capacity of one.
type partition struct{ write, read bucket }

// bucket has the units that can be taken at once: those of the running second, and what was saved before.
type bucket struct {
	rate, most, left float64
	at               time.Time
}

func newBucket(rate float64, burst time.Duration) bucket {
	most := rate * max(1, burst.Seconds())
	return bucket{rate: rate, most: most, left: most, at: time.Now()}
}

// take takes units, or reports that there are too few. Units may be negative, to put some back.
func (b *bucket) take(units float64) bool {
	now := time.Now()
	b.left = min(b.most, b.left+b.rate*now.Sub(b.at).Seconds())
	b.at = now
	if units > b.left {
		return false
	}
	b.left -= units
	return true
}

// partitionOf returns the partition that holds a key, or nil if the table has no limits.
func (t *table) partitionOf(key string) *partition {
	if t.partitions == nil {
		return nil
	}
	return &t.partitions[t.placed(key)]
}

// placed returns the number of the partition that holds a key.
func (t *table) placed(key string) int {
	hash, _, _ := strings.Cut(key, "\x00")
	sum := md5.Sum(binary.BigEndian.AppendUint64([]byte(hash), t.placement))
	return int(uint64(binary.BigEndian.Uint32(sum[:])) * uint64(len(t.partitions)) >> 32)
}

// mayWrite takes units for a write, and reports whether the key's partition has them. The caller holds the lock.
func (s *Server) mayWrite(t *table, key string, units float64) bool {
	p := t.partitionOf(key)
	if p == nil || p.write.take(units) {
		return true
	}
	s.throttled(t)
	return false
}

// mayRead is mayWrite for reads.
func (s *Server) mayRead(t *table, key string, units float64) bool {
	p := t.partitionOf(key)
	if p == nil || p.read.take(units) {
		return true
	}
	s.throttled(t)
	return false
}

func (s *Server) throttled(t *table) {
	u := s.counts.Units[t.name]
	u.Throttled++
	s.counts.Units[t.name] = u
}

// throttlingMessage is what DynamoDB says when a partition of an on-demand table is beyond its capacity.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/throttling-diagnosing-workflow.html
const throttlingMessage = "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically " +
	"scaling your table or index so please try again shortly."

func throttling() *failure {
	f := fail("ThrottlingException")
	f.Message = throttlingMessage
	return f
}

// Floor returns the shortest time in which the items of a table can have been written, one unit of 1 KB each: that of
// the partition that holds most of them, less what a partition serves at once at the start.
func (s *Server) Floor(name string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[name]
	units := make([]float64, len(t.partitions))
	for key, it := range t.items {
		units[t.placed(key)] += writeUnits(it.size())
	}
	longest := 0.0
	for i, n := range units {
		w := &t.partitions[i].write
		longest = math.Max(longest, (n-w.most)/w.rate)
	}
	return time.Duration(longest * float64(time.Second))
}

// Fullest returns how many of the partition keys the partition of a table holds that has most of them.
func (s *Server) Fullest(name string, keys []string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[name]
	held := make([]int, len(t.partitions))
	most := 0
	for _, key := range keys {
		i := t.placed(key)
		held[i]++
		most = max(most, held[i])
	}
	return most
}
