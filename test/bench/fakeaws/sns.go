package fakeaws

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// publishChunk is the number of bytes that SNS bills as one request. https://aws.amazon.com/sns/pricing/
const publishChunk = 64 << 10

// publish implements PublishBatch of SNS in the query protocol: PublishBatchRequestEntries.member.1.Message=…
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
func (s *Server) publish(w http.ResponseWriter, body []byte) {
	form, err := url.ParseQuery(string(body))
	if err != nil || form.Get("Action") != "PublishBatch" {
		http.Error(w, fmt.Sprintf("action %q is not implemented", form.Get("Action")), http.StatusBadRequest)
		return
	}
	var answer strings.Builder
	answer.WriteString(`<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">`)
	answer.WriteString("<PublishBatchResult><Failed/><Successful>")
	size := 0
	var messages []string
	for n := 1; ; n++ {
		entry := "PublishBatchRequestEntries.member." + strconv.Itoa(n) + "."
		if !form.Has(entry + "Id") {
			break
		}
		message := form.Get(entry + "Message")
		messages = append(messages, message)
		size += len(message)
		for a := 1; ; a++ {
			attribute := entry + "MessageAttributes.entry." + strconv.Itoa(a) + "."
			if !form.Has(attribute + "Name") {
				break
			}
			for _, part := range []string{"Name", "Value.DataType", "Value.StringValue"} {
				size += len(form.Get(attribute + part))
			}
		}
		fmt.Fprintf(&answer, "<member><Id>%s</Id><MessageId>%d</MessageId></member>", form.Get(entry+"Id"), n)
	}
	answer.WriteString("</Successful></PublishBatchResult></PublishBatchResponse>")
	if len(messages) == 0 || len(messages) > 10 || size > 256<<10 {
		http.Error(w, fmt.Sprintf("%d messages of %d bytes are not a valid batch", len(messages), size),
			http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.call("PublishBatch", len(messages), size, (size+publishChunk-1)/publishChunk)
	s.messages = append(s.messages, messages...)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/xml")
	_, _ = w.Write([]byte(answer.String())) // fails if the client has gone
}
