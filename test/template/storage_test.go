package template_test

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/aws/dynamo"
	"github.com/flavorless/flavorless/internal/lambda/stages"
)

const aBucket = "AWS::S3::Bucket"

// oslsBucket is where osls stores the zips. It is deleted with the stack.
const oslsBucket = "ServerlessDeploymentBucket"

var storageRules = []rule{
	{"buckets are private and encrypted", buckets, []mutation{
		{"not encrypted", without("ReportsBucket", "BucketEncryption")},
		{"public policies allowed", set("UploadsBucket", false, "PublicAccessBlockConfiguration/BlockPublicPolicy")},
	}},
	{"buckets are retained", retainedBuckets, []mutation{
		{"deleted with the stack", func(t *template) { t.Resources["UploadsBucket"].DeletionPolicy = "Delete" }},
		{"no versions", without("UploadsBucket", "VersioningConfiguration")},
		{"nothing expires", without("UploadsBucket", "LifecycleConfiguration")},
		{"objects owned by uploaders", set("UploadsBucket", "ObjectWriter", "OwnershipControls/Rules/0/ObjectOwnership")},
	}},
	{"only uploads trigger ingest", trigger, []mutation{
		{"any key", without("UploadsBucket", "NotificationConfiguration/LambdaConfigurations/0/Filter")},
		{"no notification", without("UploadsBucket", "NotificationConfiguration")},
		{"no permission to invoke", remove("UploadsBucketMayInvokeIngest")},
		{"no permission to read versions", revoke("IngestRole", "s3:GetObjectVersion")},
		{"no permission to list", revoke("IngestRole", "s3:ListBucket")},
	}},
	{"only parts of reports are deleted", deletions, []mutation{
		{"complete reports", grant("IngestRole", "s3:DeleteObject", sub("${ReportsBucket.Arn}/*"))},
		{"old versions", grant("IngestRole", "s3:DeleteObjectVersion", sub("${ReportsBucket.Arn}/*/rejects/*.part"))},
		{"no permission to delete parts", revoke("IngestRole", "s3:DeleteObject")},
		{"no permission to list parts", revoke("IngestRole", "s3:ListBucket")},
	}},
	{"sorted copies outlive late messages", copies, []mutation{
		{"kept for too short", set("ReportsBucket", 80.0, "LifecycleConfiguration/Rules/1/ExpirationInDays")},
		{"ingest has too little space", set("IngestLambdaFunction", 1024.0, "EphemeralStorage/Size")},
		{"small files are sorted", set("IngestLambdaFunction", "1000", "Environment/Variables/SORT_FROM")},
		{"apply can't read them", revoke("ApplyRole", "s3:GetObject")},
		{"apply can't see that one is gone", revoke("ApplyRole", "s3:ListBucket")},
		{"ingest can't see that there is none", revoke("IngestRole", "s3:ListBucket")},
		{"apply may read reports", grant("ApplyRole", "s3:GetObject", sub("${ReportsBucket.Arn}/*"))},
		{"apply may write", grant("ApplyRole", "s3:PutObject", sub("${ReportsBucket.Arn}/*/accepted.parquet"))},
	}},
	{"tables are retained", tables, []mutation{
		{"deleted with the stack", func(t *template) { t.Resources["FavoritesTable"].DeletionPolicy = "" }},
		{"replaced", func(t *template) { t.Resources["UploadsTable"].UpdateReplacePolicy = "Delete" }},
		{"no deletion protection", set("FavoritesTable", false, "DeletionProtectionEnabled")},
		{"no point-in-time recovery", without("UploadsTable", "PointInTimeRecoverySpecification")},
		{"not encrypted", without("UploadsTable", "SSESpecification")},
		{"another time-to-live attribute", set("FavoritesTable", "ttl", "TimeToLiveSpecification/AttributeName")},
	}},
	{"tables have the adapter's keys", keys, []mutation{
		{"another key", set("FavoritesTable", "name", "KeySchema/1/AttributeName")},
		{"stream without old images", set("FavoritesTable", "NEW_IMAGE", "StreamSpecification/StreamViewType")},
		{"another key of comparisons", set("ComparisonsTable", "id", "KeySchema/1/AttributeName")},
		{"another index", set("UploadsTable", "latest", "GlobalSecondaryIndexes/0/IndexName")},
	}},
	{"queues and topics are encrypted", encryption, []mutation{
		{"queue", without("ApplyQueue", "SqsManagedSseEnabled")},
		{"topic", without("ChangesTopic", "KmsMasterKeyId")},
		{"alarm topic with a key that CloudWatch can't use", set("AlarmTopic", "alias/aws/sns", "KmsMasterKeyId")},
	}},
}

// buckets requires that buckets are encrypted and block public access.
func buckets(t *template) (v violations) {
	for _, id := range t.of(aBucket) {
		if list(t.get(id, "BucketEncryption", "ServerSideEncryptionConfiguration")) == nil {
			v.add("%s: is not encrypted", id)
		}
		for _, block := range []string{"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"} {
			if t.get(id, "PublicAccessBlockConfiguration", block) != true {
				v.add("%s: %s is not true", id, block)
			}
		}
	}
	return v
}

// retainedBuckets requires that buckets outlive the stack, keep versions, and delete old versions and unfinished
// uploads.
func retainedBuckets(t *template) (v violations) {
	for _, id := range t.of(aBucket) {
		if id == oslsBucket {
			continue
		}
		if !retained(t, id) {
			v.add("%s: is deleted with the stack", id)
		}
		if t.get(id, "VersioningConfiguration", "Status") != "Enabled" {
			v.add("%s: versioning is not enabled", id)
		}
		unfinished, old := false, false
		for _, rule := range list(t.get(id, "LifecycleConfiguration", "Rules")) {
			on := at(rule, "Status") == "Enabled"
			unfinished = unfinished || on && at(rule, "AbortIncompleteMultipartUpload") != nil
			old = old || on && at(rule, "NoncurrentVersionExpiration") != nil
		}
		if !unfinished || !old {
			v.add("%s: unfinished uploads expire: %t, old versions expire: %t; want both", id, unfinished, old)
		}
		if ownership := list(t.get(id, "OwnershipControls", "Rules")); len(ownership) != 1 ||
			at(ownership[0], "ObjectOwnership") != "BucketOwnerEnforced" {
			v.add("%s: ObjectOwnership is not BucketOwnerEnforced", id)
		}
	}
	return v
}

// retained reports whether a resource outlives the stack. A resource of a failed first deployment need not.
func retained(t *template, id string) bool {
	r := t.Resources[id]
	return strings.HasPrefix(r.DeletionPolicy, "Retain") && r.UpdateReplacePolicy == "Retain"
}

// trigger requires that only objects in uploads/ invoke ingest, and that it may read only those.
func trigger(t *template) (v violations) {
	triggered := 0
	for _, id := range t.of(aBucket) {
		for _, n := range list(t.get(id, "NotificationConfiguration", "LambdaConfigurations")) {
			triggered++
			var prefixes []string
			for _, rule := range list(at(n, "Filter", "S3Key", "Rules")) {
				if at(rule, "Name") == "prefix" {
					prefixes = append(prefixes, text(at(rule, "Value")))
				}
			}
			if !slices.Equal(prefixes, []string{"uploads/"}) {
				v.add("%s: objects in %q invoke a function; want uploads/", id, prefixes)
			}
			function, name := target(at(n, "Function")), spelled(t.get(id, "BucketName"))
			if event := at(n, "Event"); event != "s3:ObjectCreated:*" {
				v.add("%s: the event is %v; want s3:ObjectCreated:*", id, event)
			}
			arn := "arn:${AWS::Partition}:s3:::" + name
			if !permitted(t, function, arn) {
				v.add("%s: no permission to invoke %s", id, function)
			}
			if !may(t, function, "s3:GetObjectVersion", func(r any) bool { return spelled(r) == arn+"/uploads/*" }) {
				v.add("%s: its role lacks s3:GetObjectVersion on uploads", function)
			}
			if !may(t, function, "s3:ListBucket", func(r any) bool { return spelled(r) == arn }) {
				v.add("%s: its role lacks s3:ListBucket, so S3 answers 403 for a deleted object", function)
			}
		}
	}
	if triggered != 1 {
		v.add("%d notifications; want one", triggered)
	}
	return v
}

// deletions requires that roles may delete only the parts of reports, and that ingest may list and delete those.
func deletions(t *template) (v violations) {
	const parts = "${ReportsBucket.Arn}/*/rejects/*.part"
	for _, role := range t.of(aRole) {
		for _, s := range permissions(t, role) {
			for _, action := range s.actions {
				if !s.allows || !strings.HasPrefix(action, "s3:Delete") {
					continue
				}
				for _, r := range s.resources {
					if action != "s3:DeleteObject" || spelled(r) != parts {
						v.add("%s: allows %s on %s", role, action, spelled(r))
					}
				}
			}
		}
	}
	const function = "IngestLambdaFunction"
	if !may(t, function, "s3:DeleteObject", func(r any) bool { return spelled(r) == parts }) {
		v.add("%s: its role lacks s3:DeleteObject on the parts of reports", function)
	}
	if !may(t, function, "s3:ListBucket", func(r any) bool { return spelled(r) == "${ReportsBucket.Arn}" }) {
		v.add("%s: its role lacks s3:ListBucket on the reports bucket", function)
	}
	return v
}

// copyDays is how many days a sorted copy is needed: as long as the announcement of its upload, 28 days in which the
// upload may wait in queues before its last announcement, and 2 days until DynamoDB deletes what has expired.
const copyDays = float64(dynamo.DefaultRetention/(24*time.Hour)) + 28 + 2

// copies requires that sorted copies are kept until no older message can arrive, that ingest has space for sorting, and
// that apply may read the copies and nothing else.
func copies(t *template) (v violations) {
	days := 0.0
	for _, rule := range list(t.get("ReportsBucket", "LifecycleConfiguration", "Rules")) {
		days = max(days, number(at(rule, "ExpirationInDays"), 0))
	}
	if days < copyDays {
		v.add("ReportsBucket: objects expire after %v days; want at least %v", days, copyDays)
	}
	const ingester, applier, mb = "IngestLambdaFunction", "ApplyLambdaFunction", 1 << 20
	if has := number(t.get(ingester, "EphemeralStorage", "Size"), 512); has < 2*stages.MaxSorting/mb {
		v.add("%s: its storage has %v MB; want at least twice the %d of stages.MaxSorting", ingester, has,
			stages.MaxSorting/mb)
	}
	from := text(t.get(ingester, "Environment", "Variables", "SORT_FROM"))
	if want := strconv.Itoa(ingest.DefaultSortFrom); from != want {
		v.add("%s: SORT_FROM is %q; want %s as on one machine", ingester, from, want)
	}
	for _, function := range []string{ingester, applier} {
		if !may(t, function, "s3:ListBucket", func(r any) bool { return spelled(r) == "${ReportsBucket.Arn}" }) {
			v.add("%s: its role lacks s3:ListBucket, so S3 answers 403 for a missing copy", function)
		}
	}
	const copied = "${ReportsBucket.Arn}/*/accepted.parquet"
	if !may(t, applier, "s3:GetObject", func(r any) bool { return spelled(r) == copied }) {
		v.add("%s: its role lacks s3:GetObject on sorted copies", applier)
	}
	for _, s := range permissions(t, target(t.get(applier, "Role"))) {
		for _, r := range s.resources {
			name, read := spelled(r), slices.Equal(s.actions, []string{"s3:GetObject"})
			if s.allows && strings.HasPrefix(name, "${ReportsBucket.Arn}/") && (name != copied || !read) {
				v.add("%s: its role allows %v on %s", applier, s.actions, name)
			}
		}
	}
	return v
}

// permitted reports whether the resource with this ARN may invoke a function.
func permitted(t *template, function, arn string) bool {
	for _, id := range t.of(aPermission) {
		if target(t.get(id, "FunctionName")) == function && spelled(t.get(id, "SourceArn")) == arn {
			return true
		}
	}
	return false
}

// tables requires that tables outlive the stack, can't be deleted by mistake, and can be restored to any second.
func tables(t *template) (v violations) {
	for _, id := range t.of(aTable) {
		if !retained(t, id) {
			v.add("%s: is deleted with the stack", id)
		}
		for path, want := range map[string]any{
			"DeletionProtectionEnabled": true, "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled": true,
			"SSESpecification.SSEEnabled": true, "BillingMode": "PAY_PER_REQUEST",
			"TimeToLiveSpecification.AttributeName": "expires", "TimeToLiveSpecification.Enabled": true,
		} {
			if got := t.get(id, strings.Split(path, ".")...); got != want {
				v.add("%s: %s is %v; want %v", id, path, got, want)
			}
		}
	}
	return v
}

// keys requires the keys and the stream that the adapter (internal/aws/dynamo) and the feed use.
func keys(t *template) (v violations) {
	schema := func(v any) []string {
		var all []string
		for _, k := range list(v) {
			all = append(all, text(at(k, "KeyType"))+" "+text(at(k, "AttributeName")))
		}
		return all
	}
	types := func(id string) map[string]string {
		all := map[string]string{}
		for _, a := range list(t.get(id, "AttributeDefinitions")) {
			all[text(at(a, "AttributeName"))] = text(at(a, "AttributeType"))
		}
		return all
	}
	compare := func(id string, want, got any) {
		if diff := cmp.Diff(want, got); diff != "" {
			v.add("%s differs from the adapter's table (-want +got):\n%s", id, diff)
		}
	}
	compare("FavoritesTable", []string{"HASH shard", "RANGE person"}, schema(t.get("FavoritesTable", "KeySchema")))
	compare("FavoritesTable", map[string]string{"shard": "N", "person": "S"}, types("FavoritesTable"))
	compare("FavoritesTable", "NEW_AND_OLD_IMAGES", text(t.get("FavoritesTable", "StreamSpecification", "StreamViewType")))
	compare("ComparisonsTable", []string{"HASH list", "RANGE origin"}, schema(t.get("ComparisonsTable", "KeySchema")))
	compare("ComparisonsTable", map[string]string{"list": "S", "origin": "S"}, types("ComparisonsTable"))
	compare("UploadsTable", []string{"HASH id"}, schema(t.get("UploadsTable", "KeySchema")))
	compare("UploadsTable", map[string]string{"id": "S", "list": "S", "origin": "S"}, types("UploadsTable"))
	indexes := list(t.get("UploadsTable", "GlobalSecondaryIndexes"))
	if len(indexes) != 1 {
		v.add("UploadsTable: %d indexes; want one", len(indexes))
		return v
	}
	compare("UploadsTable", "newest", text(at(indexes[0], "IndexName")))
	compare("UploadsTable", []string{"HASH list", "RANGE origin"}, schema(at(indexes[0], "KeySchema")))
	return v
}

// encryption requires that queues and topics are encrypted, except the topic of the alarms: CloudWatch can't use
// alias/aws/sns.
func encryption(t *template) (v violations) {
	for _, id := range t.of(aQueue) {
		if t.get(id, "SqsManagedSseEnabled") != true {
			v.add("%s: is not encrypted", id)
		}
	}
	for _, id := range t.of(aTopic) {
		switch key := t.get(id, "KmsMasterKeyId"); {
		case forAlarms(t, id) && key == "alias/aws/sns":
			v.add("%s: CloudWatch can't use the key %v, so alarms would notify nobody", id, key)
		case !forAlarms(t, id) && key == nil:
			v.add("%s: is not encrypted", id)
		}
	}
	return v
}

// forAlarms reports whether only CloudWatch may publish to a topic.
func forAlarms(t *template, topic string) bool {
	found := false
	for _, id := range t.of("AWS::SNS::TopicPolicy") {
		for _, s := range statements(t.get(id, "PolicyDocument")) {
			if s.allows && mentioned(s.resource)[topic] {
				if !slices.Equal(s.services, []string{"cloudwatch.amazonaws.com"}) {
					return false
				}
				found = true
			}
		}
	}
	return found
}
