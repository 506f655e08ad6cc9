package ingest

import (
	"iter"
	"log/slog"
	"slices"

	"github.com/flavorless/flavorless/events"
)

// about names in the log whose a line is: the attribute upload, which all lines about one have; uploads, if it is about
// several.
func about(uploads iter.Seq[string]) slog.Attr {
	ids := slices.Compact(slices.Sorted(uploads))
	if len(ids) == 1 {
		return slog.String("upload", ids[0])
	}
	return slog.Any("uploads", ids)
}

// ofMessages gives the uploads of messages, which all that ingest publishes have as an attribute.
func ofMessages(messages []events.Message) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, m := range messages {
			if !yield(m.Attributes["upload"]) {
				return
			}
		}
	}
}

func ofBatches(batches []events.Batch) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, b := range batches {
			if !yield(b.UploadID()) {
				return
			}
		}
	}
}

func ofChanges(changes []events.Change, indexes []int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, i := range indexes {
			if !yield(changes[i].UploadID()) {
				return
			}
		}
	}
}
