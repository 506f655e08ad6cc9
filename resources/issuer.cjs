// The environment of the authorizer: which tokens are valid. Packaging fails for a stage that does not say so, because
// with another stage's parameters the wrong users could read.
const stated = { TOKEN_ISSUER: 'tokenIssuer', AUDIENCE: 'audience', JWKS_URI: 'jwksUri' };

module.exports = async ({ resolveVariable }) => {
  const environment = { REQUIRED_SCOPE: await resolveVariable('param:requiredScope') };
  for (const [name, param] of Object.entries(stated)) environment[name] = await resolveVariable(`param:${param}, ''`);
  const missing = Object.keys(stated).filter((name) => !environment[name]).map((name) => stated[name]);
  if (missing.length > 0) {
    const stage = await resolveVariable('sls:stage');
    const error = new Error(
      `stage ${stage} lacks the parameters ${missing.join(', ')}, which say whose tokens may read: set them for the stage ` +
        `in params of serverless.yml, or on the command line with --param="${missing[0]}=…"; see docs/operations.md`,
    );
    error.stack = error.message; // osls prints the stack
    throw error;
  }
  return environment;
};
