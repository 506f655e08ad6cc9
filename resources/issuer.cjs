// What the authorizer is told: which tokens are good. A stage must state whose, or another's could read: it does not package.
const stated = { TOKEN_ISSUER: 'tokenIssuer', AUDIENCE: 'audience', JWKS_URI: 'jwksUri' };

module.exports = async ({ resolveVariable }) => {
  const environment = { REQUIRED_SCOPE: await resolveVariable('param:requiredScope') };
  for (const [name, param] of Object.entries(stated)) environment[name] = await resolveVariable(`param:${param}, ''`);
  const missing = Object.keys(stated).filter((name) => !environment[name]).map((name) => stated[name]);
  if (missing.length > 0) {
    const stage = await resolveVariable('sls:stage');
    const error = new Error(
      `the stage ${stage} does not state ${missing.join(' and ')}: say under params of serverless.yml whose tokens may read, ` +
        `or with --param="${missing[0]}=…" on the command line; docs/operations.md has examples`,
    );
    error.stack = error.message; // osls prints the stack, and who forgot something needs none
    throw error;
  }
  return environment;
};
