package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/flavorless/flavorless/events"
)

// How many uploads a page has.
const (
	uploadsLimit    = 50 // unless the client asks
	maxUploadsLimit = 500
)

// summary is an upload in the list: without its rejects, of which each could bring a hundred. Counts tell how many
// there are.
type summary struct {
	events.Upload
	Rejects []events.Reject `json:"rejects,omitempty"` // hides that of Upload; always empty
}

// list answers with the uploads, newest first.
func (h *handler) list(r *http.Request, q query, _ Claims) (reply, error) {
	limit, err := q.limit(uploadsLimit, maxUploadsLimit)
	if err != nil {
		return reply{}, err
	}
	before := q.get("before")
	if before != "" && !events.ValidUploadID(before) {
		return reply{}, badRequest("before is not the id of an upload")
	}
	found, err := h.Uploads.Uploads(r.Context(), before, limit+1)
	if errors.Is(err, events.ErrNotFound) {
		return reply{}, notFound("before names no upload")
	}
	if err != nil {
		return reply{}, fmt.Errorf("listing uploads: %w", err)
	}
	var page struct {
		Uploads []summary `json:"uploads"`
	}
	for _, upload := range found[:min(len(found), limit)] {
		page.Uploads = append(page.Uploads, summary{Upload: upload})
	}
	body, err := marshal(page)
	if err != nil {
		return reply{}, fmt.Errorf("encoding uploads: %w", err)
	}
	next := ""
	if len(found) > limit {
		next = h.link("/uploads", "before", found[limit-1].ID, limit)
	}
	return reply{body: body, next: next}, nil
}

// upload answers with the report on one upload.
func (h *handler) upload(r *http.Request, _ query, _ Claims) (reply, error) {
	id := r.PathValue(parameter)
	if !events.ValidUploadID(id) {
		return reply{}, badRequest("that is not the id of an upload: 26 digits and lower-case letters")
	}
	found, err := h.Uploads.Upload(r.Context(), id)
	if errors.Is(err, events.ErrNotFound) {
		return reply{}, notFound("there is no such upload; one appears here seconds after its file was stored")
	}
	if err != nil {
		return reply{}, fmt.Errorf("reading upload %s: %w", id, err)
	}
	body, err := marshal(found)
	if err != nil {
		return reply{}, fmt.Errorf("encoding upload %s: %w", id, err)
	}
	return reply{body: body}, nil
}

// marshal encodes what events declares: times as they are written everywhere in flavorless, zero numbers left out where
// the tags say omitempty, and text that is not UTF-8 (a raw row may hold anything) mended rather than refused.
func marshal(v any) ([]byte, error) {
	return json.Marshal(v,
		json.WithMarshalers(json.MarshalToFunc(func(out *jsontext.Encoder, t time.Time) error {
			return out.WriteToken(jsontext.String(events.FormatTime(t)))
		})),
		jsonv1.OmitEmptyWithLegacySemantics(true),
		jsontext.AllowInvalidUTF8(true),
	)
}
