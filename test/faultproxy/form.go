package faultproxy

import (
	"bytes"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// form is a PublishBatch in the query protocol: fields such as PublishBatchRequestEntries.member.1.Id.
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
type form struct {
	rest    url.Values
	members []url.Values // by what stands behind the number
}

const memberPrefix = "PublishBatchRequestEntries.member."

func newForm(values url.Values) batch {
	f := &form{rest: url.Values{}}
	members := map[int]url.Values{}
	for name, value := range values {
		after, isMember := strings.CutPrefix(name, memberPrefix)
		number, field, _ := strings.Cut(after, ".")
		n, err := strconv.Atoi(number)
		if !isMember || err != nil {
			f.rest[name] = value
			continue
		}
		if members[n] == nil {
			members[n] = url.Values{}
		}
		members[n][field] = value
	}
	for _, n := range slices.Sorted(maps.Keys(members)) {
		f.members = append(f.members, members[n])
	}
	return f
}

func (f *form) len() int { return len(f.members) }

func (f *form) without(failed map[int]string) []byte {
	values := maps.Clone(f.rest)
	n := 0
	for i, member := range f.members {
		if failed[i] != "" {
			continue
		}
		n++
		for field, value := range member {
			values[memberPrefix+strconv.Itoa(n)+"."+field] = value
		}
	}
	if n == 0 {
		return nil
	}
	return []byte(values.Encode())
}

// mend adds members to Failed, wherever the judge has it.
func (f *form) mend(status int, answer []byte, fate fate) (int, []byte) {
	if answer == nil {
		answer = []byte(`<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishBatchResult><Successful/></PublishBatchResult>` +
			`<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></PublishBatchResponse>`)
	}
	var failed bytes.Buffer
	for _, i := range slices.Sorted(maps.Keys(fate.failed)) {
		fmt.Fprintf(&failed, `<member><Id>%s</Id><Code>%s</Code><Message>the fault proxy failed it</Message><SenderFault>false</SenderFault></member>`,
			f.members[i].Get("Id"), fate.failed[i])
	}
	for _, empty := range []string{"<Failed/>", "<Failed />", "<Failed></Failed>"} {
		answer = bytes.Replace(answer, []byte(empty), nil, 1)
	}
	if place := []byte("<Failed>"); bytes.Contains(answer, place) {
		return status, bytes.Replace(answer, place, append(place, failed.Bytes()...), 1)
	}
	end := []byte("</PublishBatchResult>")
	return status, bytes.Replace(answer, end, []byte("<Failed>"+failed.String()+"</Failed>"+string(end)), 1)
}
