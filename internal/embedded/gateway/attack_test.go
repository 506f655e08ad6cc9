package gateway_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
)

// startGuarded starts a gateway beside a canary: a folder whose files no request may touch. It returns the common
// parent.
func startGuarded(t *testing.T, change ...func(*gateway.Config)) (*testServer, string) {
	t.Helper()
	base := t.TempDir()
	canary := filepath.Join(base, "canary")
	for name, text := range map[string]string{"file": "secret", "folder/1": "secret", "folder/2": "secret"} {
		mkdir(t, filepath.Dir(filepath.Join(canary, name)))
		if err := os.WriteFile(filepath.Join(canary, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mkdir(t, canary, "empty")
	srv := start(t, append([]func(*gateway.Config){func(c *gateway.Config) { c.Dir = filepath.Join(base, "data") }},
		change...)...)
	srv.put(t, "uploads/kept.csv", "kept")
	return srv, base
}

// tree returns the paths, times and contents of all files in a folder, except staged files and the latest sequencer.
func tree(t *testing.T, base string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == ".sgwtmp" {
			return fs.SkipDir
		}
		if d.Name() == "sequencer" {
			return nil
		}
		fmt.Fprintf(&b, "%s %s", path, d.Type())
		if d.Type().IsRegular() {
			info, err := d.Info()
			if err != nil {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %s %q", info.ModTime(), text)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const unknownID = "3f0c9a1e-5b7d-4c2e-9f11-0a1b2c3d4e5f"

const complete = `<CompleteMultipartUpload>` +
	`<Part><PartNumber>1</PartNumber><ETag>"x"</ETag></Part></CompleteMultipartUpload>`

const tagging = `<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`

// operationsOn returns a request for every operation on a key, by name. The path is that of the URL.
func operationsOn(path string) map[string]request {
	source := strings.TrimPrefix(path, "/")
	return map[string]request{
		"put":         {method: "PUT", path: path, body: "evil"},
		"get":         {method: "GET", path: path},
		"head":        {method: "HEAD", path: path},
		"delete":      {method: "DELETE", path: path},
		"attributes":  {method: "GET", path: path, query: "attributes=", header: headers{"X-Amz-Object-Attributes": "ETag"}},
		"get tags":    {method: "GET", path: path, query: "tagging="},
		"put tags":    {method: "PUT", path: path, query: "tagging=", body: tagging, header: md5Header(tagging)},
		"delete tags": {method: "DELETE", path: path, query: "tagging="},
		"begin":       {method: "POST", path: path, query: "uploads="},
		"part":        {method: "PUT", path: path, query: "partNumber=1&uploadId=" + unknownID, body: "evil"},
		"part copy": {method: "PUT", path: path, query: "partNumber=1&uploadId=" + unknownID,
			header: headers{"X-Amz-Copy-Source": "/uploads/uploads/kept.csv"}},
		"parts":     {method: "GET", path: path, query: "uploadId=" + unknownID},
		"complete":  {method: "POST", path: path, query: "uploadId=" + unknownID, body: complete},
		"abort":     {method: "DELETE", path: path, query: "uploadId=" + unknownID},
		"copy to":   {method: "PUT", path: path, header: headers{"X-Amz-Copy-Source": "/uploads/uploads/kept.csv"}},
		"copy from": {method: "PUT", path: "/uploads/uploads/copied.csv", header: headers{"X-Amz-Copy-Source": source}},
	}
}

// badKeys are keys that the gateway can't store unchanged, or that lead out of the bucket. The canary is 4 levels above
// a bucket's folder.
var badKeys = []string{
	"../x", "../../../../canary/file", "uploads/../../../../../canary/file", "uploads/../kept.csv", "/uploads/kept.csv",
	"/etc/passwd", "uploads//kept.csv", "./uploads/kept.csv", "uploads/./kept.csv", "uploads/..", "uploads/.", ".", "..",
	"../", "uploads/kept.csv//", "../reports", "../../../sequencer", "uploads/.sgwtmp/x", ".sgwtmp/x", ".sgwtmp",
	".sgwtmp/multipart/x", ".SGWTMP/x", "a\x00b", "\x00", "uploads/\xff.csv", "uploads/\xc0\xae/x.csv",
	"uploads/\xed\xa0\x80", "a\x01b", "a\x1fb", "a\ufffeb", "a\uffffb",
	"uploads/" + strings.Repeat("a", 256), strings.Repeat("a/", 512) + "a", strings.Repeat("a/", 64) + "a",
}

func TestHostileKeys(t *testing.T) {
	t.Parallel()
	srv, base := startGuarded(t)
	before := tree(t, base)
	for _, key := range badKeys {
		for name, r := range operationsOn("/uploads/" + escape(key)) {
			for _, wire := range []string{"", "%2E", "%2F"} { // alternative encodings of the same path
				r.wire = r.path
				switch wire {
				case "%2E":
					r.wire = strings.ReplaceAll(r.wire, ".", wire)
				case "%2F":
					r.wire = "/uploads/" + strings.ReplaceAll(r.wire[len("/uploads/"):], "/", wire)
				}
				if got := srv.send(t, r); got.status != 400 || name != "head" && got.code == "" {
					t.Errorf("%s of %q as %s: %s, want 400", name, key, r.wire, got)
				}
			}
		}
		if got := srv.send(t, form(t, headers{"key": key}, time.Now(), "evil")); got.status != 400 {
			t.Errorf("form of %q: %s, want 400", key, got)
		}
	}
	checkUnchanged(t, base, before)
	if got := len(srv.keys()); got != 1 {
		t.Errorf("announced %d objects, want the first one only", got)
	}
}

// TestHostileKeysInDocuments tests the keys in the body of DeleteObjects.
func TestHostileKeysInDocuments(t *testing.T) {
	t.Parallel()
	srv, base := startGuarded(t)
	before := tree(t, base)
	for _, key := range badKeys {
		escaped := strings.ToValidUTF8(strings.Map(func(r rune) rune { // without characters that XML can't contain
			if r < 0x20 || r >= 0xfffe {
				return -1
			}
			return r
		}, key), "")
		if escaped != key {
			continue
		}
		body := "<Delete><Object><Key>" + key + "</Key></Object></Delete>"
		got := srv.send(t, request{method: "POST", path: "/uploads", query: "delete=", body: body, header: md5Header(body)})
		if got.status != 200 || !strings.Contains(got.body, "<Error>") || strings.Contains(got.body, "<Deleted>") ||
			strings.Contains(got.body, base) {
			t.Errorf("deleting %q: %s %s, want an error for the key", key, got, got.body)
		}
	}
	for _, body := range []string{
		"<Delete><Object><Key>uploads/kept.csv</Key><VersionId>../../x</VersionId></Object></Delete>",
		"<Delete><Object></Object></Delete>",
	} {
		if got := srv.send(t, request{method: "POST", path: "/uploads", query: "delete=", body: body,
			header: md5Header(body)}); !strings.Contains(got.body, "<Error>") {
			t.Errorf("%s: %s %s, want an error for the key", body, got, got.body)
		}
	}
	checkUnchanged(t, base, before)
	many := "<Delete>" + strings.Repeat("<Object><Key>a</Key></Object>", 1001) + "</Delete>"
	if got := srv.send(t, request{method: "POST", path: "/uploads", query: "delete=", body: many,
		header: md5Header(many)}); got.code != "MalformedXML" {
		t.Errorf("deleting 1001 keys: %s, want MalformedXML", got)
	}
}

func TestHostileUploadIDs(t *testing.T) {
	t.Parallel()
	srv, base := startGuarded(t)
	before := tree(t, base)
	up := strings.Repeat("../", 7) // <dir>/objects/<bucket>/.sgwtmp/multipart/<sha256>
	for _, id := range []string{
		up + "canary/folder", up + "canary/empty", "..", ".", "", "../..", "x", unknownID + "/../" + up + "canary/folder",
		"/etc", strings.ToUpper(unknownID),
		unknownID + ".x.inprogress", unknownID + "\x00", "\xff", "{" + unknownID + "}",
		strings.ReplaceAll(unknownID, "-", ""), "%2e%2e", "../" + strings.Repeat("0", 64),
	} {
		for name, r := range operationsOn("/uploads/uploads/t.csv") {
			if !strings.Contains(r.query, "uploadId=") {
				continue
			}
			r.query = strings.Replace(r.query, unknownID, escapeQuery(id), 1)
			if got := srv.send(t, r); got.status != 404 || got.code != "NoSuchUpload" {
				t.Errorf("%s of upload %q: %s, want 404 NoSuchUpload", name, id, got)
			}
		}
	}
	checkUnchanged(t, base, before)
}

func TestHostileBucketsAndSources(t *testing.T) {
	t.Parallel()
	srv, base := startGuarded(t)
	before := tree(t, base)
	for _, name := range []string{"..", ".", "%2E%2E", "..%2F..", "../..", ".set-aside", "Uploads", "%00", "%FF",
		"uploads%00", "a", "uploads%2F..", "127.0.0.1"} {
		for _, r := range []request{
			{method: "GET", path: "/" + name}, {method: "GET", path: "/" + name + "/canary/file"},
			{method: "PUT", path: "/" + name + "/x", body: "evil"},
			{method: "PUT", path: "/" + name}, {method: "DELETE", path: "/" + name + "/canary/file"},
			{method: "GET", path: "/" + name, query: "uploads="},
			{method: "PUT", path: "/uploads/copied", header: headers{"X-Amz-Copy-Source": "/" + name + "/canary/file"}},
		} {
			if got := srv.send(t, r); got.status != 400 && got.status != 403 && got.status != 404 {
				t.Errorf("%s %s (%s): %s, want 400, 403 or 404", r.method, r.path, r.header, got)
			}
		}
	}
	for _, source := range []string{
		"uploads/uploads/kept.csv?versionId=../../x", "uploads/uploads/kept.csv?versionId=" + unknownID, "uploads", "",
		"/", "//", "uploads/", "uploads%2F..%2F..%2Fsequencer",
		"uploads/%2e%2e/%2e%2e/%2e%2e/canary/file", "uploads/uploads/kept.csv%00", "%zz",
	} {
		got := srv.send(t, request{method: "PUT", path: "/uploads/copied", header: headers{"X-Amz-Copy-Source": source}})
		if source != "" && got.status != 400 { // an empty header makes the request a PUT
			t.Errorf("copying %q: %s, want 400", source, got)
		}
	}
	srv.send(t, request{method: "DELETE", path: "/uploads/copied"})
	checkUnchanged(t, base, before)
}

// TestListsStayInTheBucket tests prefixes and markers, because versitygw uses prefixes as paths.
func TestListsStayInTheBucket(t *testing.T) {
	t.Parallel()
	srv, base := startGuarded(t)
	mp := srv.parts(t, "uploads/parts.csv", payload(100))
	if mp.UploadId == nil {
		t.Fatal("no upload id")
	}
	for _, text := range []string{"../", "../../", "../../../canary/", "../reports/", ".sgwtmp/", ".sgwtmp/multipart/",
		"/", "//", "./", "uploads//", "uploads/../", "uploads/./", strings.Repeat("a/", 600)} {
		for _, query := range []string{"prefix=", "delimiter=%2F&prefix=", "list-type=2&prefix=",
			"list-type=2&delimiter=%2F&prefix="} {
			got := srv.send(t, request{method: "GET", path: "/uploads", query: query + escapeQuery(text)})
			if got.status != 200 || strings.Contains(got.body, "<Contents>") || strings.Contains(got.body, "<CommonPrefixes>") {
				t.Errorf("%s%s: %s %s, want an empty list", query, text, got, got.body)
			}
		}
		for _, query := range []string{"marker=", "list-type=2&start-after=", "list-type=2&continuation-token=",
			"uploads=&prefix=", "uploads=&key-marker=", "list-type=2&delimiter="} {
			got := srv.send(t, request{method: "GET", path: "/uploads", query: query + escapeQuery(text)})
			if got.status != 200 || strings.Contains(got.body, "secret") || strings.Contains(got.body, "canary/f") ||
				strings.Contains(got.body, base) {
				t.Errorf("%s%s: %s %s, want 200 without names outside the bucket", query, text, got, got.body)
			}
		}
	}
	for _, query := range []string{"prefix=%FF", "marker=%00", "list-type=2&start-after=%01",
		"list-type=2&prefix=%C0%AE%2F", "uploads=&key-marker=%FF", "uploads=&upload-id-marker=%00&key-marker=a",
		"delimiter=%FF"} {
		if got := srv.send(t, request{method: "GET", path: "/uploads", query: query}); got.status != 400 {
			t.Errorf("%s: %s, want 400", query, got)
		}
	}
}

// TestVersionsAndDuplicateParameters checks that objects have a single version, and duplicate parameters are refused.
func TestVersionsAndDuplicateParameters(t *testing.T) {
	t.Parallel()
	srv, _ := startGuarded(t)
	for _, r := range []request{
		{method: "GET", query: "versionId=..%2F..%2Fx"}, {method: "HEAD", query: "versionId=x"},
		{method: "DELETE", query: "versionId=01ARZ3NDEKTSV4RRFFQ69G5FAV"},
		{method: "GET", query: "attributes=&versionId=x", header: headers{"X-Amz-Object-Attributes": "ETag"}},
		{method: "GET", query: "tagging=&versionId=..%2Fx"},
		{method: "DELETE", query: "tagging=&versionId=x"}, {method: "PUT", query: "tagging=&versionId=x", body: tagging,
			header: md5Header(tagging)},
		{method: "GET", query: "versionId=null&versionId=x"}, {method: "PUT",
			query: "partNumber=1&partNumber=2&uploadId=" + unknownID, body: "x"},
		{method: "GET", query: "uploadId=" + unknownID + "&uploadId=.."},
		{method: "PUT", query: "partNumber=..%2F1&uploadId=" + unknownID, body: "x"},
		{method: "PUT", query: "partNumber=0&uploadId=" + unknownID, body: "x"},
		{method: "PUT", query: "partNumber=10001&uploadId=" + unknownID, body: "x"},
	} {
		r.path = "/uploads/uploads/kept.csv"
		if got := srv.send(t, r); got.status != 400 {
			t.Errorf("%s %s: %s, want 400", r.method, r.query, got)
		}
	}
	srv.checkContent(t, "uploads/kept.csv", "kept")
}

// TestSymbolicLinks tests the second line of defense: links that lead out of the bucket are not followed.
func TestSymbolicLinks(t *testing.T) {
	t.Parallel()
	srv, base := startGuarded(t)
	objects := filepath.Join(base, "data", "objects")
	for link, to := range map[string]string{
		"uploads/out": filepath.Join(base, "canary"), "uploads/relative": "../../../canary",
		"uploads/file":  filepath.Join(base, "canary", "file"),
		"linked-bucket": filepath.Join(base, "canary"),
	} {
		if err := os.Symlink(to, filepath.Join(objects, link)); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t, base)
	for _, path := range []string{"/uploads/out/file", "/uploads/out/new", "/uploads/relative/file", "/uploads/file",
		"/uploads/out/folder/", "/linked-bucket/file"} {
		for name, r := range operationsOn(path) {
			if got := srv.send(t, r); got.status != 403 && (got.status != 404 || !strings.HasPrefix(path, "/linked")) {
				t.Errorf("%s of %s: %s, want 403", name, path, got)
			}
		}
	}
	for _, query := range []string{"prefix=out%2F", "list-type=2&prefix=relative%2Ffolder%2F",
		"delimiter=%2F&prefix=out%2Ffolder%2F"} {
		if got := srv.send(t, request{method: "GET", path: "/uploads", query: query}); got.status != 403 {
			t.Errorf("%s: %s, want 403", query, got)
		}
	}
	checkUnchanged(t, base, before)
	// A link in the place of the staging folder.
	staging := filepath.Join(objects, "uploads", ".sgwtmp")
	if err := os.RemoveAll(staging); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(base, "canary"), staging); err != nil {
		t.Fatal(err)
	}
	for name, r := range operationsOn("/uploads/uploads/t.csv") {
		if r.body == "evil" || name == "begin" || name == "abort" || name == "parts" || name == "complete" {
			if got := srv.send(t, r); got.status != 403 {
				t.Errorf("%s by way of a link: %s, want 403", name, got)
			}
		}
	}
	if after := tree(t, filepath.Join(base, "canary")); !strings.HasPrefix(before, after[:len(after)-1]) &&
		!strings.Contains(before, after) {
		t.Errorf("the canary changed: got\n%s", after)
	}
}
