package ingest

import (
	"mime"
	"strings"

	"github.com/flavorless/flavorless/events"
)

// Names of the metadata that control how an object is read. As HTTP headers, they have the prefix x-amz-meta-.
const (
	MetadataOnError      = "on-error"
	MetadataCharset      = "charset"
	MetadataPersonColumn = "person-column"
	MetadataFlavorColumn = "flavor-column"
	MetadataActionColumn = "action-column"
)

// Options control how a file is read. The zero value applies all good rows even if others are bad, reads UTF-8 (or
// UTF-16 with a byte order mark), and expects columns named person, flavor and action.
type Options struct {
	Abort bool // apply no row if one is bad

	columns columnNames // defaultColumns if zero
	charset charset     // of files without a byte order mark; UTF-8 if zero
}

// ParseOptions returns the options in the metadata of an object, whose names are in lower case. Without
// [MetadataCharset], the charset in the Content-Type ([events.MetadataContentType]) is used. Other metadata are
// ignored, because tools add their own. If a value is unknown, the error is a [*FileError] with code
// [events.BadMetadata].
func ParseOptions(metadata map[string]string) (Options, error) {
	var o Options
	for name := range metadata {
		if meant := misspelled(name); meant != "" {
			return Options{}, badMetadata("the metadata name %q is unknown; did you mean %s?", truncate(name, 40), meant)
		}
	}
	switch onError := strings.ToLower(strings.TrimSpace(metadata[MetadataOnError])); onError {
	case "abort":
		o.Abort = true
	case "", "continue":
	default:
		return Options{}, badMetadata("the metadata %s is %q; use abort (apply no row if one is bad) or continue",
			MetadataOnError, truncate(metadata[MetadataOnError], 40))
	}
	o.columns = defaultColumns()
	for i, name := range columnMetadata() {
		value, given := metadata[name]
		if !given {
			continue
		}
		if o.columns[i] = columnName(decodeHeader(value)); o.columns[i] == "" {
			return Options{}, badMetadata("the metadata %s is empty; set it to the name of a column, or remove it", name)
		}
	}
	if twice := o.columns.repeated(); twice != "" {
		return Options{}, badMetadata("two of person, flavor and action are read from the column %q; name a column for each",
			truncate(twice, 120))
	}
	name, where := metadata[MetadataCharset], "metadata "+MetadataCharset
	if name == "" {
		contentType := metadata[events.MetadataContentType]
		_, parameters, err := mime.ParseMediaType(contentType)
		if err != nil && strings.Contains(strings.ToLower(contentType), MetadataCharset) {
			return Options{}, badMetadata("the Content-Type %q has an invalid charset; "+
				"write it like text/csv; charset=windows-1252", truncate(contentType, 80))
		}
		name, where = parameters["charset"], "Content-Type"
	}
	if name != "" {
		var known bool
		if o.charset, known = charsetOf(name); !known {
			return Options{}, badMetadata("the charset %q in the %s is unknown; use one of %s, or save the file as UTF-8",
				truncate(name, 40), where, strings.Join(Charsets(), ", "))
		}
	}
	return o, nil
}

// misspelled returns the known metadata name that differs from name only in separators, such as on-error for on_error,
// or "". To ignore such a name would surprise the uploader.
func misspelled(name string) string {
	letters := strings.NewReplacer("-", "", "_", "", ".", "", " ", "")
	columns := columnMetadata()
	for _, known := range append(columns[:], MetadataOnError, MetadataCharset) {
		if name != known && letters.Replace(name) == letters.Replace(known) {
			return known
		}
	}
	return ""
}

func badMetadata(format string, args ...any) *FileError {
	return failure(events.BadMetadata, format, args...)
}

// decodeHeader decodes RFC 2047, in which clients and S3 encode metadata that are not ASCII.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
func decodeHeader(value string) string {
	if decoded, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
		return decoded
	}
	return value
}

// names returns the names of the columns.
func (o Options) names() columnNames {
	if o.columns == (columnNames{}) {
		return defaultColumns()
	}
	return o.columns
}

// namesColumns reports whether the metadata name a column other than the default one.
func (o Options) namesColumns() bool { return o.names() != defaultColumns() }
