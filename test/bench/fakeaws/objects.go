package fakeaws

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"time"
)

// object implements PutObject, GetObject and HeadObject of S3, and uploads in parts, which must arrive in order.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
func (s *Server) object(w http.ResponseWriter, r *http.Request, body []byte) {
	s.mu.Lock()
	s.call(r.Method+"Object", 0, 0, 0)
	path, query := r.URL.Path, r.URL.Query()
	stored, ok := s.objects[path]
	switch {
	case r.Method == http.MethodPost && query.Has("uploads"):
		s.parts[path] = nil
	case r.Method == http.MethodPost:
		s.objects[path] = s.parts[path]
		delete(s.parts, path)
	case r.Method == http.MethodPut && query.Has("partNumber"):
		s.parts[path] = append(s.parts[path], body...)
	case r.Method == http.MethodPut:
		s.objects[path] = body
	}
	s.mu.Unlock() // before the response, because the client may send the next request at once
	switch {
	case r.Method == http.MethodPost && query.Has("uploads"):
		_ = xml.NewEncoder(w).Encode(struct { // writing fails if the client has gone
			XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
			UploadID string   `xml:"UploadId"`
		}{UploadID: "1"})
	case r.Method == http.MethodPost:
		_ = xml.NewEncoder(w).Encode(struct {
			XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
			ETag    string
		}{ETag: `"e"`})
	case r.Method == http.MethodPut:
		w.Header().Set("ETag", `"e"`)
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		_ = xml.NewEncoder(w).Encode(struct {
			XMLName xml.Name `xml:"Error"`
			Code    string
		}{Code: "NoSuchKey"})
	default:
		w.Header().Set("ETag", `"e"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(stored))
	}
}
