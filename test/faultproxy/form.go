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

// form is a PublishBatch in the query protocol, which has fields such as PublishBatchRequestEntries.member.1.Id.
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
type form struct {
	rest    url.Values
	members []url.Values // by the part of the name after the number
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

// addFailures adds the failed members to Failed, in any form that emulators write it.
func (f *form) addFailures(status int, answer []byte, effects effects) (int, []byte) {
	if answer == nil {
		answer = []byte(`<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">` +
			`<PublishBatchResult><Successful/></PublishBatchResult></PublishBatchResponse>`)
	}
	var failed bytes.Buffer
	for _, i := range slices.Sorted(maps.Keys(effects.failed)) {
		fmt.Fprintf(&failed, `<member><Id>%s</Id><Code>%s</Code><SenderFault>false</SenderFault></member>`,
			f.members[i].Get("Id"), effects.failed[i])
	}
	for _, empty := range []string{"<Failed/>", "<Failed />", "<Failed></Failed>"} {
		answer = bytes.Replace(answer, []byte(empty), nil, 1)
	}
	if tag := []byte("<Failed>"); bytes.Contains(answer, tag) {
		return status, bytes.Replace(answer, tag, append(tag, failed.Bytes()...), 1)
	}
	end := []byte("</PublishBatchResult>")
	return status, bytes.Replace(answer, end, []byte("<Failed>"+failed.String()+"</Failed>"+string(end)), 1)
}
