// The API's stage as a resource of the stack. osls would configure logs, limits and tracing by calls after the
// deployment, which tests of the template don't see and which may fail after a successful deployment.
//
// It is JavaScript because the deployment's logical id contains a random number.
module.exports = async ({ resolveVariable }) => {
  const deployment = `ApiGatewayDeployment${await resolveVariable('sls:instanceId')}`;
  // No variable may contain the name of a person, as $context.path does. test/template has the list of allowed
  // variables.
  const format = {
    requestId: '$context.requestId',
    time: '$context.requestTime',
    ip: '$context.identity.sourceIp',
    method: '$context.httpMethod',
    route: '$context.resourcePath', // such as /ice-cream/{person}
    status: '$context.status',
    milliseconds: '$context.responseLatency',
    bytes: '$context.responseLength',
    principal: '$context.authorizer.principalId', // the token's subject
    authorizer: '$context.authorizer.status',
    authorizerError: '$context.authorizer.error',
    error: '$context.error.responseType',
    functionRequest: '$context.awsEndpointRequestId', // the requestId in the function's log
  };
  const limits = async (rate, burst) => ({
    ThrottlingRateLimit: Number(await resolveVariable(`param:${rate}`)),
    ThrottlingBurstLimit: Number(await resolveVariable(`param:${burst}`)),
  });
  // Settings of one method replace the settings of all methods, so they must be complete.
  const settings = (HttpMethod, ResourcePath, limits) => ({
    HttpMethod,
    ResourcePath,
    MetricsEnabled: true,
    LoggingLevel: 'ERROR', // INFO would log the path of each request
    DataTraceEnabled: false, // true would log tokens
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
          TracingEnabled: false, // the gateway's segments contain whole URLs, unlike those of the functions
          AccessLogSetting: { DestinationArn: { 'Fn::GetAtt': ['AccessLog', 'Arn'] }, Format: JSON.stringify(format) },
          MethodSettings: [
            settings('*', '/*', await limits('requestsPerSecond', 'requestBurst')),
            // ~1 is an encoded slash.
            ...['/~1team', '/~1uploads'].flatMap((path) => ['GET', 'HEAD'].map((method) => settings(method, path, lists))),
          ],
        },
      },
    },
    extensions: {
      [deployment]: {
        // A deployment is a snapshot, so it must be created after these.
        DependsOn: [
          'GatewayUnauthorized', 'GatewayForbidden', 'GatewayNoRoute', 'GatewayNotFound', 'GatewayNotSigned', 'GatewayThrottled',
          'GatewayAuthorizerFailure', 'GatewayAuthorizerConfiguration', 'GatewayTimeout', 'GatewayFunctionFailure',
          'GatewayFunctionConfiguration', 'Gateway4xx', 'Gateway5xx',
        ],
        Properties: { StageName: { Ref: 'AWS::NoValue' } }, // otherwise it would create the stage itself
      },
    },
  };
};
