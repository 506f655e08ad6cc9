package template_test

import (
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
)

const aBucket = "AWS::S3::Bucket"

// oslsBucket is where osls puts the zips. It comes and goes with the stack.
const oslsBucket = "ServerlessDeploymentBucket"

// buckets reports buckets that are not encrypted, or not closed to the public.
func buckets(t *template) (c complaints) {
	for _, id := range t.of(aBucket) {
		if list(t.get(id, "BucketEncryption", "ServerSideEncryptionConfiguration")) == nil {
			c.add("%s: is not encrypted", id)
		}
		for _, block := range []string{"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"} {
			if t.get(id, "PublicAccessBlockConfiguration", block) != true {
				c.add("%s: may be made public; no %s", id, block)
			}
		}
	}
	return c
}

// keptBuckets: what is in ours is worth more than the stack; but not for ever what nobody can see any more.
func keptBuckets(t *template) (c complaints) {
	for _, id := range t.of(aBucket) {
		if id == oslsBucket {
			continue
		}
		if !retained(t, id) {
			c.add("%s: goes with the stack", id)
		}
		if t.get(id, "VersioningConfiguration", "Status") != "Enabled" {
			c.add("%s: what is put over something is put in its place; no versions", id)
		}
		unfinished, old := false, false
		for _, rule := range list(t.get(id, "LifecycleConfiguration", "Rules")) {
			on := at(rule, "Status") == "Enabled"
			unfinished = unfinished || on && at(rule, "AbortIncompleteMultipartUpload") != nil
			old = old || on && at(rule, "NoncurrentVersionExpiration") != nil
		}
		if !unfinished || !old {
			c.add("%s: unfinished uploads (%t) and old versions (%t) must expire", id, unfinished, old)
		}
		if ownership := list(t.get(id, "OwnershipControls", "Rules")); len(ownership) != 1 || at(ownership[0], "ObjectOwnership") != "BucketOwnerEnforced" {
			c.add("%s: objects may belong to others", id)
		}
	}
	return c
}

// retained tells whether a resource outlives the stack; one that was made by a deployment that failed need not.
func retained(t *template, id string) bool {
	r := t.Resources[id]
	return strings.HasPrefix(r.DeletionPolicy, "Retain") && r.UpdateReplacePolicy == "Retain"
}

// trigger: only what is put under uploads/ starts anything, and only that may be read.
func trigger(t *template) (c complaints) {
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
				c.add("%s: objects below %q trigger; want uploads/", id, prefixes)
			}
			function, name := target(at(n, "Function")), spelled(t.get(id, "BucketName"))
			if event := at(n, "Event"); event != "s3:ObjectCreated:*" {
				c.add("%s: triggers on %v", id, event)
			}
			arn := "arn:${AWS::Partition}:s3:::" + name
			if !permitted(t, function, arn) {
				c.add("%s: may not invoke %s", id, function)
			}
			if !may(t, function, "s3:GetObjectVersion", func(r any) bool { return spelled(r) == arn+"/uploads/*" }) {
				c.add("%s: lacks s3:GetObjectVersion on what is uploaded", function)
			}
			if !may(t, function, "s3:ListBucket", func(r any) bool { return spelled(r) == arn }) {
				c.add("%s: lacks s3:ListBucket, without which it can't tell a vanished object from a forbidden one", function)
			}
		}
	}
	if triggered != 1 {
		c.add("%d notifications; want one", triggered)
	}
	return c
}

// deletions reports roles that may delete objects other than the parts of reports, and ingest if it may not delete those or not
// list them.
func deletions(t *template) (c complaints) {
	const parts = "${ReportsBucket.Arn}/*/rejects/*.part"
	for _, role := range t.of(aRole) {
		for _, s := range permissions(t, role) {
			for _, action := range s.actions {
				if !s.allows || !strings.HasPrefix(action, "s3:Delete") {
					continue
				}
				for _, r := range s.resources {
					if action != "s3:DeleteObject" || spelled(r) != parts {
						c.add("%s: allows %s on %s", role, action, spelled(r))
					}
				}
			}
		}
	}
	const function = "IngestLambdaFunction"
	if !may(t, function, "s3:DeleteObject", func(r any) bool { return spelled(r) == parts }) {
		c.add("%s: lacks s3:DeleteObject on the parts of reports", function)
	}
	if !may(t, function, "s3:ListBucket", func(r any) bool { return spelled(r) == "${ReportsBucket.Arn}" }) {
		c.add("%s: lacks s3:ListBucket on the reports bucket", function)
	}
	return c
}

// permitted tells whether what has this ARN may invoke a function.
func permitted(t *template, function, arn string) bool {
	for _, id := range t.of(aPermission) {
		if target(t.get(id, "FunctionName")) == function && spelled(t.get(id, "SourceArn")) == arn {
			return true
		}
	}
	return false
}

// tables: kept when the stack goes or would replace them, protected from deletion, restorable to any second.
func tables(t *template) (c complaints) {
	for _, id := range t.of(aTable) {
		if !retained(t, id) {
			c.add("%s: goes with the stack", id)
		}
		for _, must := range []struct {
			path      []string
			want      any
			otherwise string
		}{
			{[]string{"DeletionProtectionEnabled"}, true, "may be deleted by a slip"},
			{[]string{"PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled"}, true, "can't be restored to a point in time"},
			{[]string{"SSESpecification", "SSEEnabled"}, true, "is encrypted with a key of DynamoDB's own"},
			{[]string{"BillingMode"}, "PAY_PER_REQUEST", "is not on demand"},
			{[]string{"TimeToLiveSpecification", "AttributeName"}, "expires", "does not expire what the adapter lets expire"},
			{[]string{"TimeToLiveSpecification", "Enabled"}, true, "does not expire what the adapter lets expire"},
		} {
			if t.get(id, must.path...) != must.want {
				c.add("%s: %s; %s must be %v", id, must.otherwise, strings.Join(must.path, "."), must.want)
			}
		}
	}
	return c
}

// keys: the adapter (internal/aws/dynamo) and the feed rely on these.
func keys(t *template) (c complaints) {
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
			c.add("%s: not as the adapter has it (-want +got):\n%s", id, diff)
		}
	}
	compare("FavoritesTable", []string{"HASH shard", "RANGE person"}, schema(t.get("FavoritesTable", "KeySchema")))
	compare("FavoritesTable", map[string]string{"shard": "N", "person": "S"}, types("FavoritesTable"))
	compare("FavoritesTable", "NEW_AND_OLD_IMAGES", text(t.get("FavoritesTable", "StreamSpecification", "StreamViewType")))
	compare("UploadsTable", []string{"HASH id"}, schema(t.get("UploadsTable", "KeySchema")))
	compare("UploadsTable", map[string]string{"id": "S", "list": "S", "origin": "S"}, types("UploadsTable"))
	indexes := list(t.get("UploadsTable", "GlobalSecondaryIndexes"))
	if len(indexes) != 1 {
		c.add("UploadsTable: %d indexes; want one", len(indexes))
		return c
	}
	compare("UploadsTable", "newest", text(at(indexes[0], "IndexName")))
	compare("UploadsTable", []string{"HASH list", "RANGE origin"}, schema(at(indexes[0], "KeySchema")))
	return c
}

// encryption: of whatever holds a message. CloudWatch can't use alias/aws/sns: the topic of the alarms is open.
func encryption(t *template) (c complaints) {
	for _, id := range t.of(aQueue) {
		if t.get(id, "SqsManagedSseEnabled") != true {
			c.add("%s: is not encrypted", id)
		}
	}
	for _, id := range t.of(aTopic) {
		switch key := t.get(id, "KmsMasterKeyId"); {
		case forAlarms(t, id) && key == "alias/aws/sns":
			c.add("%s: CloudWatch can't use the key %v, so no alarm gets out", id, key)
		case !forAlarms(t, id) && key == nil:
			c.add("%s: is not encrypted", id)
		}
	}
	return c
}

// forAlarms tells whether CloudWatch, and nobody else, is let publish to a topic.
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
