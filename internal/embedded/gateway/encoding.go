package gateway

import (
	"context"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/s3response"
)

// checkEncodingType returns InvalidArgument for an encoding-type that S3 does not know.
func checkEncodingType(value string) error {
	if value != "" && value != string(types.EncodingTypeUrl) {
		return invalidArgument("encoding-type", value, "Invalid Encoding Method specified in Request")
	}
	return nil
}

// wantsEncoding reports whether a request for a list has encoding-type=url. versitygw does not know that parameter.
func wantsEncoding(ctx context.Context) bool {
	request, ok := ctx.(*fasthttp.RequestCtx)
	return ok && string(request.QueryArgs().Peek("encoding-type")) == string(types.EncodingTypeUrl)
}

// encodeText returns text as S3 encodes it in lists: as in a query, except for slashes.
func encodeText(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "%2F", "/") }

// encodeTexts encodes texts. It replaces the pointers, because the result of a list shares strings with its request.
func encodeTexts(texts ...**string) {
	for _, text := range texts {
		if *text != nil {
			encoded := encodeText(**text)
			*text = &encoded
		}
	}
}

func encodeList(out *s3response.ListObjectsResult) {
	out.EncodingType = types.EncodingTypeUrl
	encodeTexts(&out.Prefix, &out.Marker, &out.NextMarker, &out.Delimiter)
	encodeContents(out.Contents, out.CommonPrefixes)
}

// encodeListV2 leaves the continuation tokens as they are, as S3 does. Clients don't interpret them.
func encodeListV2(out *s3response.ListObjectsV2Result) {
	out.EncodingType = types.EncodingTypeUrl
	encodeTexts(&out.Prefix, &out.StartAfter, &out.Delimiter)
	encodeContents(out.Contents, out.CommonPrefixes)
}

func encodeContents(contents []s3response.Object, prefixes []types.CommonPrefix) {
	for i := range contents {
		encodeTexts(&contents[i].Key)
	}
	for i := range prefixes {
		encodeTexts(&prefixes[i].Prefix)
	}
}

func encodeUploads(out *s3response.ListMultipartUploadsResult) {
	out.EncodingType = string(types.EncodingTypeUrl)
	for _, text := range []*string{&out.KeyMarker, &out.NextKeyMarker, &out.Delimiter, &out.Prefix} {
		*text = encodeText(*text)
	}
	for i := range out.Uploads {
		out.Uploads[i].Key = encodeText(out.Uploads[i].Key)
	}
	for i := range out.CommonPrefixes {
		out.CommonPrefixes[i].Prefix = encodeText(out.CommonPrefixes[i].Prefix)
	}
}
