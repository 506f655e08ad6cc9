// Who may subscribe to the changes topic, and how. The policy is JavaScript because it lists endpoints for each account
// in subscriberAccounts.
//
// Principals of the stack's own account need only a policy of their own and no Allow here, so the Deny statements limit
// them.

const topicActions = require('./topic-actions.cjs');

// The protocols that docs/operations.md describes. http is not among them because it would send names unencrypted.
const protocols = ['email', 'https', 'lambda', 'sqs'];

module.exports = async ({ resolveVariable }) => {
  const accounts = [].concat(await resolveVariable('param:subscriberAccounts'));
  const own = { Ref: 'AWS::AccountId' };
  const isOwn = (account) => account.Ref === own.Ref;
  // `flavorless watch --stack` subscribes a queue of the stack's own account, which is therefore always allowed.
  const owners = [own, ...accounts.filter((account) => !isOwn(account))];
  const endpoints = owners.flatMap((account) =>
    ['sqs:*:${account}:*', 'lambda:*:${account}:function:*'].map((rest) => ({
      'Fn::Sub': [`arn:\${AWS::Partition}:${rest}`, { account }],
    })),
  );
  const topic = { Ref: 'ChangesTopic' };
  const deny = (Sid, Action, Condition) => ({ Sid, Effect: 'Deny', Principal: '*', Action, Resource: topic, Condition });
  return {
    Resources: {
      ChangesTopicPolicy: {
        Type: 'AWS::SNS::TopicPolicy',
        Properties: {
          Topics: [topic],
          PolicyDocument: {
            Version: '2012-10-17',
            Statement: [
              {
                Sid: 'Subscribers', // principals of other accounts also need permission there
                Effect: 'Allow',
                Principal: { AWS: accounts },
                Action: 'sns:Subscribe',
                Resource: topic,
                Condition: { StringEquals: { 'sns:Protocol': protocols } },
              },
              deny('KnownProtocolsOnly', 'sns:Subscribe', { StringNotEquals: { 'sns:Protocol': protocols } }),
              // The owner of a queue or function in another account could confirm the subscription and read the
              // changes, although subscriberAccounts does not list that account.
              deny('EndpointsOfSubscribersOnly', 'sns:Subscribe', {
                StringEquals: { 'sns:Protocol': ['lambda', 'sqs'] },
                StringNotLike: { 'sns:Endpoint': endpoints },
              }),
              deny('TlsOnly', topicActions, { Bool: { 'aws:SecureTransport': 'false' } }),
            ],
          },
        },
      },
    },
  };
};
