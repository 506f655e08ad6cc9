package fakeaws

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// publishChunk is what SNS bills as one request, in bytes. https://aws.amazon.com/sns/pricing/
const publishChunk = 64 << 10

// publish is SNS's PublishBatch, in the query protocol: PublishBatchRequestEntries.member.1.Message=…
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
func (s *Server) publish(w http.ResponseWriter, body []byte) {
	form, err := url.ParseQuery(string(body))
	if err != nil || form.Get("Action") != "PublishBatch" {
		http.Error(w, fmt.Sprintf("action %q is not known here", form.Get("Action")), http.StatusBadRequest)
		return
	}
	var answer strings.Builder
	answer.WriteString(`<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishBatchResult><Failed/><Successful>`)
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
			size += len(form.Get(attribute+"Name")) + len(form.Get(attribute+"Value.DataType")) + len(form.Get(attribute+"Value.StringValue"))
		}
		fmt.Fprintf(&answer, "<member><Id>%s</Id><MessageId>%d</MessageId></member>", form.Get(entry+"Id"), n)
	}
	answer.WriteString("</Successful></PublishBatchResult></PublishBatchResponse>")
	if len(messages) == 0 || len(messages) > 10 || size > 256<<10 {
		http.Error(w, fmt.Sprintf("%d messages of %d bytes are no batch", len(messages), size), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.call("PublishBatch", len(messages), size, (size+publishChunk-1)/publishChunk)
	s.messages = append(s.messages, messages...)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "text/xml")
	_, _ = w.Write([]byte(answer.String())) // whoever asked has gone
}
