package ingest

import (
	"encoding/binary"
	"math/bits"

	"github.com/flavorless/flavorless/internal/swar"
)

// places are where things stand in a line of text.
type places struct {
	end    int    // of the line: its newline
	commas int    // how many
	comma  [8]int // where the first of them are
	odd    bool   // the line is not what events.Plain tells
}

// find looks for the first newline in text and for the commas before it, eight bytes at a time: lines are short, and to look
// for each in turn, however fast, takes longer. It tells whether there is a newline.
func (p *places) find(text []byte, comma byte) bool {
	p.commas = 0
	var odd uint64
	for at := 0; at < len(text); at += 8 {
		var word uint64
		if rest := text[at:]; len(rest) >= 8 {
			word = binary.LittleEndian.Uint64(rest)
		} else {
			var last [8]byte
			copy(last[:], rest)
			word = binary.LittleEndian.Uint64(last[:])
		}
		end := equal(word, '\n')
		line := end&-end - 1 // the bits below; all of them without an end
		odd |= swar.Special(word) & line
		for found := equal(word, comma) & line; found != 0; found &= found - 1 {
			if p.commas < len(p.comma) {
				p.comma[p.commas] = at + bits.TrailingZeros64(found)/8
			}
			p.commas++
		}
		if end != 0 {
			p.end, p.odd = at+bits.TrailingZeros64(end)/8, odd&highs != 0
			return true
		}
	}
	return false
}

// begin is where a field begins in the line; there must be no more commas than places of them.
func (p *places) begin(field int) int {
	if field == 0 {
		return 0
	}
	return p.comma[field-1] + 1
}

// field is one of the line's.
func (p *places) field(line string, field int) string {
	if field == p.commas {
		return line[p.begin(field):]
	}
	return line[p.begin(field):p.comma[field]]
}

const (
	ones  = 0x0101010101010101
	lows  = 0x7f7f7f7f7f7f7f7f
	highs = 0x8080808080808080
)

// equal has the high bit set of each byte of word that is c, and no other bit.
func equal(word uint64, c byte) uint64 {
	w := word ^ ones*uint64(c)
	return ^((w&lows + lows) | w | lows)
}
