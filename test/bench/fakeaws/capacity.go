package fakeaws

import (
	"crypto/md5"
	"encoding/binary"
	"math"
	"strings"
	"time"
)

// Capacity limits the throughput of the tables. DynamoDB distributes the partition keys of a table over partitions by
// a hash, and each partition has its own limit, even if the others are idle.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
type Capacity struct {
	Partitions  int           // of each table
	Write, Read float64       // units per second of each partition
	Burst       time.Duration // for how long a partition keeps unused units; at least the current second
	Placement   uint64        // seeds the hash that maps keys to partitions
}

// NewOnDemandTable returns the capacity of a new on-demand table: 4,000 write units and 12,000 read units per second,
// on four partitions. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
func NewOnDemandTable() Capacity { return Capacity{Partitions: 4, Write: 1000, Read: 3000} }

// NewLimited returns a fake like [New], whose tables throttle requests beyond a capacity. It uses the clock of
// package time, which is virtual in a bubble of testing/synctest.
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

// partition is the available capacity of a partition.
type partition struct{ write, read bucket }

// bucket is a token bucket of capacity units. It holds those of the current second, and unused ones of the seconds
// before.
type bucket struct {
	rate, most, left float64
	at               time.Time
}

func newBucket(rate float64, burst time.Duration) bucket {
	most := rate * max(1, burst.Seconds())
	return bucket{rate: rate, most: most, left: most, at: time.Now()}
}

// take takes units and reports whether there were enough. Negative units are put back.
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

// mayWrite takes units for a write, and reports whether the partition of the key has enough. The caller holds the lock.
func (s *Server) mayWrite(t *table, key string, units float64) bool {
	p := t.partitionOf(key)
	if p == nil || p.write.take(units) {
		return true
	}
	s.throttled(t)
	return false
}

// mayRead takes units for a read, and reports whether the partition of the key has enough. The caller holds the lock.
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

// throttlingMessage is the message of DynamoDB when a partition of an on-demand table is throttled.
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/throttling-diagnosing-workflow.html
const throttlingMessage = "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically " +
	"scaling your table or index so please try again shortly."

func throttling() *failure {
	f := fail("ThrottlingException")
	f.Message = throttlingMessage
	return f
}

// Floor returns the minimum time in which the items of a table can have been written, with one unit for each KB. That
// is the time of the partition with the most items, without the units that a partition has at the start.
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

// Fullest returns the number of the given partition keys in the partition of a table that has the most of them.
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
