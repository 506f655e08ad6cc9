// How many days reports and sorted copies are kept. A message of an older upload may arrive until the announcement of a
// newer one expires, and then the newer one's sorted copy is needed: 60 days (Retention in internal/aws/dynamo), 28 days in
// which the upload may wait in queues between its copy and its last announcement, and 2 days in which DynamoDB deletes
// expired items.
const minimum = 90;

module.exports = async ({ resolveVariable }) => {
  const days = String(await resolveVariable('param:reportRetentionDays'));
  if (!/^\d+$/.test(days) || Number(days) < minimum) {
    const error = new Error(
      `parameter reportRetentionDays is ${JSON.stringify(days)}; set it to a whole number of at least ${minimum} days, ` +
        'because the sorted copies of large files must outlive every late message',
    );
    error.stack = error.message; // osls prints the stack
    throw error;
  }
  return Number(days);
};
