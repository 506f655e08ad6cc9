package events_test

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"github.com/flavorless/flavorless/events"
)

// text generates text as in files: with white space, quotes, combining marks, characters that NFC changes, forbidden
// characters, and invalid UTF-8.
func text() *rapid.Generator[string] {
	special := []rune(" \t\n\u00a0\u2000\u2001\u2028\u200b\ufeff\u3000" +
		"\"\\/<>&'\x00\x1f\x7f\u0085\u202e\u2066\ufffe\uffff\ufffd" +
		"eéAÅ\u0301\u0323\u0307\u030a\u0344\u0340\u0958\u09cb\u212b" +
		"\u2126\u037e\u1100\u1161\u11a8가\u200d\u034f🍦👩🏽\u05d0\u0627")
	char := rapid.OneOf(
		rapid.RuneFrom([]rune("abcdefghijklmnopqrstuvwxyz ")),
		rapid.SampledFrom(special),
		rapid.RuneFrom(nil, unicode.Mn, unicode.Lo),
		rapid.Rune(),
	)
	plain := rapid.StringMatching(`[ -~]{0,20}`)
	wild := rapid.StringOfN(char, 0, 40, -1)
	long := rapid.Map(rapid.SampledFrom([]string{`"`, `\`, "a", "é", "e\u0301", "\u0958", "🍦", "\u0301", "\u0327\u0301"}),
		func(s string) string {
			return strings.Repeat(s, 300/len(s))
		})
	cut := rapid.Custom(func(t *rapid.T) string {
		s := long.Draw(t, "long")
		return s[:rapid.IntRange(0, len(s)).Draw(t, "cut")] + wild.Draw(t, "tail")
	})
	bytes := rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) string { return string(b) })
	return rapid.OneOf(plain, wild, wild, cut, bytes)
}

// name generates results of CleanName.
func name() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		s, bad := events.CleanName(text().Draw(t, "text"), "person", events.MissingPerson)
		if bad != nil {
			return rapid.StringMatching(`[a-z"\\]{1,12}`).Draw(t, "name")
		}
		return s
	})
}

// object generates objects. The fields have few values, so that objects often share some.
func object() *rapid.Generator[events.Object] {
	return rapid.Custom(func(t *rapid.T) events.Object {
		ms := rapid.OneOf(rapid.Int64Range(1_795_000_000_000, 1_795_000_000_003),
			rapid.Int64Range(0, 253402300799999)).Draw(t, "ms")
		return events.Object{
			Bucket:    rapid.SampledFrom([]string{"a", "b"}).Draw(t, "bucket"),
			Key:       rapid.SampledFrom([]string{"k", "é.csv"}).Draw(t, "key"),
			ETag:      rapid.SampledFrom([]string{"e1", "e2"}).Draw(t, "etag"),
			VersionID: rapid.SampledFrom([]string{"", "", "v1"}).Draw(t, "version"),
			Sequencer: rapid.OneOf(
				rapid.StringMatching(`00[01]{1,3}`), rapid.StringMatching(`[0-9a-fA-F]{1,32}`),
			).Draw(t, "sequencer"),
			Time: time.UnixMilli(ms).Add(time.Duration(rapid.IntRange(0, 999_999).Draw(t, "ns"))),
		}
	})
}

func offset() *rapid.Generator[int64] {
	return rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, events.MaxOffset))
}

func origin() *rapid.Generator[events.Origin] {
	return rapid.Custom(func(t *rapid.T) events.Origin { return mustOrigin(t, object().Draw(t, "object")) })
}

func version() *rapid.Generator[events.Version] {
	return rapid.Custom(func(t *rapid.T) events.Version {
		return origin().Draw(t, "origin").At(offset().Draw(t, "offset"))
	})
}

// rows generates rows of one upload in file order. There are few persons, so that some occur several times.
func rows(minimum int) *rapid.Generator[[]events.Update] {
	return rapid.Custom(func(t *rapid.T) []events.Update {
		offsets := rapid.SliceOfNDistinct(offset(), minimum, 8, rapid.ID).Draw(t, "offsets")
		slices.Sort(offsets)
		person := rapid.OneOf(rapid.SampledFrom([]string{"andy", "bill", "crème"}), name())
		rows := make([]events.Update, len(offsets))
		for i, at := range offsets {
			rows[i] = events.Update{Offset: at, Person: person.Draw(t, "person")}
			if rapid.IntRange(0, 4).Draw(t, "remove") == 0 {
				rows[i].Remove = true
			} else {
				rows[i].Flavor = name().Draw(t, "flavor")
			}
		}
		return rows
	})
}

func batch() *rapid.Generator[events.Batch] {
	return rapid.Custom(func(t *rapid.T) events.Batch {
		rows := rows(1).Draw(t, "rows")
		return events.Batch{Origin: origin().Draw(t, "origin"), First: rows[0].Offset, Rows: rows}
	})
}

func change() *rapid.Generator[events.Change] {
	flavor := rapid.OneOf(rapid.Just(""), name())
	return rapid.Custom(func(t *rapid.T) events.Change {
		previous, now := flavor.Draw(t, "previous"), flavor.Draw(t, "flavor")
		if previous == now {
			previous, now = "", "vanilla"
		}
		c, _ := events.NewChange(name().Draw(t, "person"), previous, now, version().Draw(t, "version"))
		return c
	})
}

// encode returns the message of a batch.
func encode(b events.Batch) events.Message {
	w := events.NewBatchWriter(b.Origin)
	if b.Compare {
		w = events.NewSortedBatchWriter(b.Origin, true)
	}
	for _, u := range b.Rows {
		w.Add(u)
	}
	return w.Message()
}

type fataler interface{ Fatal(args ...any) }

func mustOrigin(t fataler, o events.Object) events.Origin {
	if t, ok := t.(testing.TB); ok {
		t.Helper()
	}
	origin, err := o.Origin()
	if err != nil {
		t.Fatal(err)
	}
	return origin
}
