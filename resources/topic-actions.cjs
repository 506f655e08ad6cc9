// The actions that a topic's policy denies without TLS: those in the policy that SNS creates for a topic. A topic policy
// does not accept sns:*.
module.exports = [
  'sns:AddPermission', 'sns:DeleteTopic', 'sns:GetTopicAttributes', 'sns:ListSubscriptionsByTopic', 'sns:Publish',
  'sns:RemovePermission', 'sns:SetTopicAttributes', 'sns:Subscribe',
];
