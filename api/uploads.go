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

// Page sizes of the list of uploads.
const (
	uploadsLimit    = 50 // default
	maxUploadsLimit = 500
)

// summary is an upload without its list of up to a hundred rejects. The counts state their number.
type summary struct {
	events.Upload
	Rejects []events.Reject `json:"rejects,omitempty"` // hides that of Upload; always empty
}

// listUploads responds with a page of uploads, newest first.
func (h *handler) listUploads(r *http.Request, q query, _ Claims) (response, error) {
	limit, err := q.limit(uploadsLimit, maxUploadsLimit)
	if err != nil {
		return response{}, err
	}
	before := q.get("before")
	if before != "" && !events.ValidUploadID(before) {
		return response{}, badRequest("before must be the id of an upload")
	}
	found, err := h.Uploads.Uploads(r.Context(), before, limit+1)
	if errors.Is(err, events.ErrNotFound) {
		return response{}, notFound("before must be the id of an upload; there is no upload with this id")
	}
	if err != nil {
		return response{}, fmt.Errorf("listing uploads: %w", err)
	}
	var page struct {
		Uploads []summary `json:"uploads"`
	}
	for _, upload := range found[:min(len(found), limit)] {
		page.Uploads = append(page.Uploads, summary{Upload: upload})
	}
	body, err := marshal(page)
	if err != nil {
		return response{}, fmt.Errorf("encoding uploads: %w", err)
	}
	next := ""
	if len(found) > limit {
		next = h.link("/uploads", "before", found[limit-1].ID, limit)
	}
	return response{body: body, next: next}, nil
}

// upload responds with the report of one upload.
func (h *handler) upload(r *http.Request, _ query, _ Claims) (response, error) {
	id := r.PathValue(parameter)
	if !events.ValidUploadID(id) {
		return response{}, badRequest("this is not the id of an upload, which has 26 digits and lower-case letters")
	}
	found, err := h.Uploads.Upload(r.Context(), id)
	if errors.Is(err, events.ErrNotFound) {
		return response{}, notFound("there is no such upload; uploads appear seconds after their file is stored")
	}
	if err != nil {
		return response{}, fmt.Errorf("reading upload %s: %w", id, err)
	}
	body, err := marshal(found)
	if err != nil {
		return response{}, fmt.Errorf("encoding upload %s: %w", id, err)
	}
	return response{body: body}, nil
}

// marshal encodes types of package events: times in the format of flavorless, omitempty as in encoding/json, and
// invalid UTF-8, which a raw row may contain, as U+FFFD.
func marshal(v any) ([]byte, error) {
	return json.Marshal(v,
		json.WithMarshalers(json.MarshalToFunc(func(out *jsontext.Encoder, t time.Time) error {
			return out.WriteToken(jsontext.String(events.FormatTime(t)))
		})),
		jsonv1.OmitEmptyWithLegacySemantics(true),
		jsontext.AllowInvalidUTF8(true),
	)
}
