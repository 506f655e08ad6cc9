package jetstream

import (
	"path/filepath"

	"github.com/nats-io/nats.go"

	"github.com/flavorless/flavorless/events"
)

// ReadHand gives what a file of the messages in hand says, by their number: how often each was tried, and where to
// acknowledge it.
func ReadHand(content []byte) map[uint64]string {
	h := &hand{left: map[uint64]held{}}
	h.read(content)
	replies := map[uint64]string{}
	for seq, e := range h.left {
		replies[seq] = e.reply
	}
	return replies
}

// KeepHand writes down what ReadHand reads.
func KeepHand(dir string, content []byte) (file string) {
	h := &hand{dir: dir, queue: Updates, left: map[uint64]held{}}
	h.read(content)
	h.keep()
	return filepath.Join(dir, string(Updates)+"-left")
}

// CheckSeal, SealFile and Keep are of a directory of streams.
var (
	CheckSeal = checkSeal
	SealFile  = sealFile
	Keep      = keep
)

// Encode makes a stored message, Decode takes apart its headers.
func Encode(stream Stream, m events.Message) (*nats.Msg, error) { return encode(stream, m) }
func Decode(header nats.Header) (string, map[string]string)     { return decode(header) }

// HeaderText makes a header value of any text.
var HeaderText = headerText
