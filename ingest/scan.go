package ingest

import (
	"encoding/binary"
	"math/bits"

	"github.com/flavorless/flavorless/internal/swar"
)

// lineScan holds the positions of the separators in a line.
type lineScan struct {
	end        int    // index of the newline
	commas     int    // number of separators
	comma      [8]int // indexes of the first separators
	hasSpecial bool   // whether the line has characters that swar.Plain does not accept
}

// find scans text for the first newline and the separators before it. It reports whether there is a newline. It
// examines eight bytes at a time, because lines are short: a search for each separator takes longer.
func (p *lineScan) find(text []byte, comma byte) bool {
	p.commas = 0
	var special uint64
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
		line := end&-end - 1 // mask of the bytes before the newline; all bits if there is none
		special |= swar.Special(word) & line
		for found := equal(word, comma) & line; found != 0; found &= found - 1 {
			if p.commas < len(p.comma) {
				p.comma[p.commas] = at + bits.TrailingZeros64(found)/8
			}
			p.commas++
		}
		if end != 0 {
			p.end, p.hasSpecial = at+bits.TrailingZeros64(end)/8, special&highBits != 0
			return true
		}
	}
	return false
}

// begin returns the index at which a field begins. The line must have at most len(p.comma) separators.
func (p *lineScan) begin(field int) int {
	if field == 0 {
		return 0
	}
	return p.comma[field-1] + 1
}

func (p *lineScan) field(line string, field int) string {
	if field == p.commas {
		return line[p.begin(field):]
	}
	return line[p.begin(field):p.comma[field]]
}

const (
	ones     = 0x0101010101010101
	lowBits  = 0x7f7f7f7f7f7f7f7f
	highBits = 0x8080808080808080
)

// equal returns a word with the high bit set in each byte of word that equals c, and no other bits.
func equal(word uint64, c byte) uint64 {
	w := word ^ ones*uint64(c)
	return ^((w&lowBits + lowBits) | w | lowBits)
}
