package ingest

import (
	"log/slog"
	"slices"

	"github.com/flavorless/flavorless/events"
)

// uploadAttr returns the log attribute "upload" if all items belong to one upload, or else "uploads".
func uploadAttr[T any](items []T, uploadID func(T) string) slog.Attr {
	ids := make([]string, len(items))
	for i, item := range items {
		ids[i] = uploadID(item)
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) == 1 {
		return slog.String("upload", ids[0])
	}
	return slog.Any("uploads", ids)
}

func uploadOfMessage(m events.Message) string { return m.Attributes["upload"] }
