package queue

import (
	"github.com/flavorless/flavorless/internal/embedded/broker"
)

// ReadInflight returns what a file of the messages in flight holds: where to acknowledge them, by sequence number.
func ReadInflight(content []byte) map[uint64]string {
	f := &inflight{interrupted: map[uint64]entry{}}
	f.read(content)
	replies := map[uint64]string{}
	for seq, e := range f.interrupted {
		replies[seq] = e.reply
	}
	return replies
}

// SaveInflight reads content, stores it again, and returns the name of the file.
func SaveInflight(dir string, content []byte) (file string, err error) {
	f := &inflight{dir: dir, queue: broker.Updates, interrupted: map[uint64]entry{}}
	f.read(content)
	return f.leftFile(), f.save()
}

// HeaderText returns text as the value of a header.
var HeaderText = headerText
