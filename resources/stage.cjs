// The API's stage as a resource of the stack. osls would set logs, limits and tracing by calls after the deployment, where no
// template check sees them and a failure leaves them out.
//
// It is JavaScript because a deployment gets another random id each time: what is said of it must compute its name.
module.exports = async ({ resolveVariable }) => {
  const deployment = `ApiGatewayDeployment${await resolveVariable('sls:instanceId')}`;
  // Nothing here may hold the name of a person: $context.path, or a query string, would. test/template has the list of variables
  // that may be logged.
  const format = {
    requestId: '$context.requestId',
    time: '$context.requestTime',
    ip: '$context.identity.sourceIp',
    method: '$context.httpMethod',
    route: '$context.resourcePath', // a template: /ice-cream/{person}
    status: '$context.status',
    milliseconds: '$context.responseLatency',
    bytes: '$context.responseLength',
    principal: '$context.authorizer.principalId', // the token's subject: who read
    authorizer: '$context.authorizer.status',
    authorizerError: '$context.authorizer.error',
    error: '$context.error.responseType',
    functionRequest: '$context.awsEndpointRequestId', // requestId in the function's log
  };
  const limits = async (rate, burst) => ({
    ThrottlingRateLimit: Number(await resolveVariable(`param:${rate}`)),
    ThrottlingBurstLimit: Number(await resolveVariable(`param:${burst}`)),
  });
  // Settings of one method replace those of all methods, and do not add to them: each has to state everything.
  const settings = (HttpMethod, ResourcePath, limits) => ({
    HttpMethod,
    ResourcePath,
    MetricsEnabled: true,
    LoggingLevel: 'ERROR', // INFO would log the path of each request
    DataTraceEnabled: false, // it would log tokens
    ...limits,
  });
  const lists = await limits('listRequestsPerSecond', 'listRequestBurst');
  return {
    Resources: {
      ApiStage: {
        Type: 'AWS::ApiGateway::Stage',
        DependsOn: 'ExecutionLog',
        Properties: {
          RestApiId: { Ref: 'ApiGatewayRestApi' },
          DeploymentId: { Ref: deployment },
          StageName: await resolveVariable('sls:stage'),
          TracingEnabled: false, // the gateway's segments hold whole URLs; those of the functions hold none
          AccessLogSetting: { DestinationArn: { 'Fn::GetAtt': ['AccessLog', 'Arn'] }, Format: JSON.stringify(format) },
          MethodSettings: [
            settings('*', '/*', await limits('requestsPerSecond', 'requestBurst')),
            // A slash in a path is ~1 here.
            ...['/~1team', '/~1uploads'].flatMap((path) => ['GET', 'HEAD'].map((method) => settings(method, path, lists))),
          ],
        },
      },
    },
    extensions: {
      [deployment]: {
        // A deployment is a snapshot: what comes later is not in it.
        DependsOn: [
          'GatewayUnauthorized', 'GatewayForbidden', 'GatewayNoRoute', 'GatewayNotFound', 'GatewayNotSigned', 'GatewayThrottled',
          'GatewayAuthorizerFailure', 'GatewayAuthorizerConfiguration', 'GatewayTimeout', 'GatewayFunctionFailure', 'GatewayFunctionConfiguration',
          'Gateway4xx', 'Gateway5xx',
        ],
        Properties: { StageName: { Ref: 'AWS::NoValue' } }, // else it would make the stage itself
      },
    },
  };
};
