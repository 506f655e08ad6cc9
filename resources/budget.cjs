// An optional budget of the account, and who is told when it is spent.
module.exports = async ({ resolveVariable }) => {
  const service = await resolveVariable('self:service');
  const stage = await resolveVariable('sls:stage');
  const amount = Number(await resolveVariable("param:monthlyBudget, ''"));
  const email = await resolveVariable("param:alarmEmail, ''");
  if (amount && !email) {
    throw new Error('monthlyBudget needs alarmEmail: a budget that nobody is told of is of no use');
  }
  const notification = (Threshold) => ({
    Notification: { NotificationType: 'ACTUAL', ComparisonOperator: 'GREATER_THAN', ThresholdType: 'PERCENTAGE', Threshold },
    Subscribers: [{ SubscriptionType: 'EMAIL', Address: email }],
  });
  const budget = {
    Type: 'AWS::Budgets::Budget',
    Properties: {
      Budget: {
        BudgetName: `${service}-${stage}`,
        BudgetType: 'COST',
        TimeUnit: 'MONTHLY',
        BudgetLimit: { Amount: amount, Unit: 'USD' },
      },
      NotificationsWithSubscribers: [notification(80), notification(100)],
    },
  };
  return amount ? { Resources: { Budget: budget } } : {};
};
