package ingest

import (
	"mime"
	"strings"

	"github.com/flavorless/flavorless/events"
)

// Names of the metadata with which an uploader says how to read an object. As headers they are x-amz-meta-on-error and so on.
const (
	MetadataOnError      = "on-error"
	MetadataCharset      = "charset"
	MetadataPersonColumn = "person-column"
	MetadataFlavorColumn = "flavor-column"
	MetadataActionColumn = "action-column"
)

// Options say how to read a file. The zero value is right for UTF-8 (or UTF-16 with a byte order mark), for columns that are
// called person, flavor and action, and for files whose good rows are wanted even if others are bad.
type Options struct {
	Abort bool // apply no row if one is bad

	columns columnNames // defaultColumns if zero

	charset charset // of files without a byte order mark; UTF-8 if zero
}

// ParseOptions reads the options in the metadata of an object, whose names are in lower case. Of the Content-Type
// ([events.MetadataContentType]) only the charset counts, and only without [MetadataCharset]. Metadata with other names is
// ignored, because tools add their own. The error is a [*FileError] with code [events.BadMetadata] if a value is unknown.
func ParseOptions(metadata map[string]string) (Options, error) {
	var o Options
	for name := range metadata {
		if meant := misspelled(name); meant != "" {
			return Options{}, badMetadata("the metadata %q has no meaning; did you mean %s?", truncate(name, 40), meant)
		}
	}
	switch onError := strings.ToLower(strings.TrimSpace(metadata[MetadataOnError])); onError {
	case "abort":
		o.Abort = true
	case "", "continue":
	default:
		return Options{}, badMetadata("the metadata %s is %q; it can be abort (apply no row if one is bad) or continue (the default)",
			MetadataOnError, truncate(metadata[MetadataOnError], 40))
	}
	o.columns = defaultColumns()
	for _, c := range []struct {
		name   string
		column *string
	}{
		{MetadataPersonColumn, &o.columns.person}, {MetadataFlavorColumn, &o.columns.flavor}, {MetadataActionColumn, &o.columns.action},
	} {
		value, given := metadata[c.name]
		if !given {
			continue
		}
		if *c.column = columnName(decodeHeader(value)); *c.column == "" {
			return Options{}, badMetadata("the metadata %s is empty; give the name of a column, or leave it out", c.name)
		}
	}
	if twice := o.columns.repeated(); twice != "" {
		return Options{}, badMetadata("the column %q is named for two of person, flavor and action; name a column for each", truncate(twice, 120))
	}
	name, where := metadata[MetadataCharset], "metadata "+MetadataCharset
	if name == "" {
		contentType := metadata[events.MetadataContentType]
		_, parameters, err := mime.ParseMediaType(contentType)
		if err != nil && strings.Contains(strings.ToLower(contentType), MetadataCharset) {
			return Options{}, badMetadata("the Content-Type is %q, whose charset can't be read; write it as text/csv; charset=windows-1252", truncate(contentType, 80))
		}
		name, where = parameters["charset"], "Content-Type"
	}
	if name != "" {
		var known bool
		if o.charset, known = charsetOf(name); !known {
			return Options{}, badMetadata("the charset %q in the %s is not known; use one of %s, or save the file as UTF-8",
				truncate(name, 40), where, strings.Join(Charsets(), ", "))
		}
	}
	return o, nil
}

// misspelled returns the metadata whose name has other separators than name, such as on-error for on_error. Ignored silently, it
// would not do what the uploader relies on.
func misspelled(name string) string {
	letters := strings.NewReplacer("-", "", "_", "", ".", "", " ", "")
	for _, known := range []string{MetadataOnError, MetadataCharset, MetadataPersonColumn, MetadataFlavorColumn, MetadataActionColumn} {
		if name != known && letters.Replace(name) == letters.Replace(known) {
			return known
		}
	}
	return ""
}

func badMetadata(format string, args ...any) *FileError {
	return failure(events.BadMetadata, format, args...)
}

// decodeHeader undoes RFC 2047, which is how S3 gives, and clients send, metadata that is not ASCII.
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

// namesColumns reports whether the uploader has named a column that is not called as usual.
func (o Options) namesColumns() bool {
	metadata, _ := o.names().missing(columnsFound{})
	return metadata != ""
}
